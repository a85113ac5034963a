# rbee: one way to build, test, lint and run. `make help` lists the targets.
SHELL       := /bin/bash
GO          ?= go
VERSION     ?= $(shell git describe --tags --always 2>/dev/null || echo dev)
M           := github.com/rbee-project/rbee
LDFLAGS     := -X $(M)/cli.Version=$(VERSION) -X $(M)/services/queen.Version=$(VERSION) -X $(M)/services/hive.Version=$(VERSION)
BUILD       := CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)"
MODULES     := messages gguf bus services/queen services/hive services/worker cli
PORTABLE    := messages gguf bus services/queen services/hive cli
CACHE       := $(CURDIR)/.cache
TOOLS       := $(CURDIR)/.tools
LINT_VER    := v2.15.0
NATS_VER    := v0.5.0
REGISTRY_VER := v3.1.2
OLLAMA_VER  := v0.9.6
HUB_VER     := 2.17.5
# llama.cpp's libraries, as `rbee engine install llama-cpp` puts them there.
LLAMA_LIB    = $(shell bin/rbee engine list --json --data-dir $(CACHE)/rbee | sed -n 's/.*"path":"\([^"]*\)".*/\1/p' | head -1)
MODEL       ?= builtin:bee-tiny
PROMPT      ?= What does the queen do?
# How many random schedules make test-slow runs for each of seven models and modes.
SCHEDULES   ?= 72

.PHONY: help build demo libs tools hub-client test check test-slow docs chaos-local bench bench-catalog bench-engine bench-llama-server soak pins fmt lint modules cross clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

build: ## the four binaries, into bin/
	$(BUILD) -o bin/ ./cli/cmd/rbee ./services/queen/cmd/rbee-queen ./services/hive/cmd/rbee-hive ./services/worker/cmd/rbee-worker

bin/rbee bin/rbee-worker: FORCE
	@mkdir -p bin
	@$(BUILD) -o bin/ ./cli/cmd/rbee ./services/worker/cmd/rbee-worker
FORCE:

libs: bin/rbee ## llama.cpp's libraries, into .cache/
	@bin/rbee engine install llama-cpp --data-dir $(CACHE)/rbee >/dev/null

demo: bin/rbee libs ## answer a prompt through queen, hive, worker and llama.cpp: make demo [MODEL=path.gguf|hf:org/repo]
	@env -u RBEE_SERVER -u RBEE_CREDS RBEE_LLAMA_LIB="$(LLAMA_LIB)" RBEE_DATA_DIR="$(CACHE)/rbee" bin/rbee run --verbose "$(MODEL)" "$(PROMPT)"

tools: $(TOOLS)/nats $(TOOLS)/registry hub-client ## what the tests run beside rbee: the nats CLI, an OCI registry, npm's hub client
$(TOOLS)/nats:
	GOWORK=off GOBIN=$(TOOLS) $(GO) install github.com/nats-io/natscli/nats@$(NATS_VER)
$(TOOLS)/golangci-lint:
	GOWORK=off GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VER)

$(TOOLS)/registry:
	GOWORK=off GOBIN=$(TOOLS) $(GO) install github.com/distribution/distribution/v3/cmd/registry@$(REGISTRY_VER)
$(TOOLS)/ollama:
	GOWORK=off GOBIN=$(TOOLS) $(GO) install github.com/ollama/ollama@$(OLLAMA_VER)
hub-client: $(CACHE)/hub-client/node_modules/@huggingface/hub ## npm's @huggingface/hub, into .cache/
$(CACHE)/hub-client/node_modules/@huggingface/hub:
	npm install --loglevel error --no-audit --no-fund --prefix $(CACHE)/hub-client @huggingface/hub@$(HUB_VER)

# The real programs that tests run beside rbee.
REAL = RBEE_LLAMA_LIB="$(LLAMA_LIB)" RBEE_NATS_CLI=$(TOOLS)/nats RBEE_REGISTRY_BIN=$(TOOLS)/registry RBEE_HUB_CLIENT=$(CACHE)/hub-client

test: libs tools ## every test
	$(REAL) $(GO) test -count=1 -timeout 15m work

docs: ## write docs/asyncapi.yaml from messages/table.go
	cd cli && $(GO) test -count=1 ./asyncapi -update

check: fmt modules lint cross libs tools ## format, vet, lint, modules, cross-builds, and the tests with -race
	$(GO) vet work
	$(REAL) $(GO) test -count=1 -race -timeout 30m work

# FOLDER:FUZZER, each for 8 s.
FUZZERS := huggingface:FuzzReference huggingface:FuzzAnswers ollama:FuzzReference ollama:FuzzManifest ollama:FuzzChallenge weburl:FuzzReference \
  stores:FuzzManifest stores:FuzzOrigins plan:FuzzHeader peaks:FuzzDecode download:FuzzJournal

test-slow: libs tools $(TOOLS)/ollama ## what takes long: processes away for 30 s, 60 kills of a download, a real ollama push, fuzzing of foreign input
	$(REAL) RBEE_OLLAMA_BIN=$(TOOLS)/ollama $(GO) test -count=1 -tags slow -timeout 15m -run TestSlow ./cli/e2e
	cd services/hive && $(REAL) RBEE_OLLAMA_BIN=$(TOOLS)/ollama $(GO) test -count=1 -p 1 -tags slow -timeout 15m -run TestSlow ./catalog/download ./catalog/ollama
	cd services/hive && for f in $(FUZZERS); do $(REAL) $(GO) test -run '^$$' -fuzz "$${f#*:}$$" -fuzztime 8s -fuzzminimizetime 1s ./catalog/$${f%:*} || exit 1; done
	cd services/worker && RBEE_LLAMA_LIB="$(LLAMA_LIB)" RBEE_SCHEDULES=$(SCHEDULES) $(GO) test -count=1 -timeout 30m -run TestSchedules ./llamacpp
	cd services/worker && RBEE_LLAMA_LIB="$(LLAMA_LIB)" RBEE_SCHEDULES=5 $(GO) test -count=1 -timeout 30m -run 'TestHostile$$' ./llamacpp
	cd services/worker && $(GO) test -run '^$$' -fuzz FuzzParse$$ -fuzztime 15s -fuzzminimizetime 1s ./completion
	cd services/worker && $(GO) test -run '^$$' -fuzz FuzzFromSchema -fuzztime 15s -fuzzminimizetime 1s ./grammar
	cd messages && $(GO) test -run '^$$' -fuzz FuzzDecode -fuzztime 20s -fuzzminimizetime 1s .
	cd messages && $(GO) test -run '^$$' -fuzz FuzzFrame -fuzztime 10s -fuzzminimizetime 1s .
	cd gguf && $(GO) test -run '^$$' -fuzz FuzzReadHeader -fuzztime 20s -fuzzminimizetime 1s .

chaos-local: libs ## kill, freeze and end every process under load, and print what users noticed; CHAOS_KILLS=50 CHAOS_FREEZES=5 CHAOS_OTHERS=5
	RBEE_LLAMA_LIB="$(LLAMA_LIB)" $(GO) test -count=1 -tags chaos -timeout 3h -run 'TestChaos$$' ./cli/e2e -v | grep -v '^=== '

bench: libs ## timings: kill -9 to gone, cancel to still, what the queen adds to a worker, what 50,000 workers cost it
	RBEE_LLAMA_LIB="$(LLAMA_LIB)" $(GO) test -run '^$$' -bench 'Kill9|Cancel' -benchtime 20x ./cli/e2e
	RBEE_LLAMA_LIB="$(LLAMA_LIB)" $(GO) test -run '^$$' -bench 'Overhead|Fleet' -benchtime 1x -timeout 20m ./cli/e2e

bench-catalog: ## a pull of 1 GiB from loopback beside curl: speed, CPU, memory
	cd services/hive && $(GO) test -run '^$$' -bench Curl -benchtime 1x -timeout 20m ./catalog/download

bench-engine: libs ## the engine beside llama.cpp's bare loop: tokens/s, prefill, gaps, TTFT, what is kept of a prompt
	cd services/worker && RBEE_LLAMA_LIB="$(LLAMA_LIB)" $(GO) test -run '^$$' -bench 'Decode|Prefill|Mixed|ChatTurns' -benchtime 1x -timeout 30m ./llamacpp

bench-llama-server: libs ## the same requests to a worker and to the llama-server on PATH
	@command -v llama-server >/dev/null || { echo "llama-server is not on PATH: brew install llama.cpp, or build it from its source"; exit 1; }
	cd services/worker && RBEE_LLAMA_LIB="$(LLAMA_LIB)" RBEE_LLAMA_SERVER="$$(command -v llama-server)" $(GO) test -run '^$$' -bench LlamaServer -benchtime 1x -timeout 30m ./llamacpp

soak: libs ## 30 minutes of 16 clients that come and go: SOAK=30m
	cd services/worker && RBEE_LLAMA_LIB="$(LLAMA_LIB)" $(GO) test -count=1 -tags soak -timeout 3h -run TestSoak -v ./llamacpp

pins: ## fetch, check and unpack every pinned engine package, 800 MB
	cd services/hive && ENGINES_TEST_EVERY_PIN=1 $(GO) test -count=1 -timeout 1h -run TestEveryPin -v ./engines

fmt: ## gofmt leaves no diff
	@out=$$(gofmt -l $(MODULES)); [ -z "$$out" ] || { echo "not gofmt-ed: $$out"; exit 1; }

lint: $(TOOLS)/golangci-lint ## golangci-lint in every module
	@for m in $(MODULES); do (cd $$m && $(TOOLS)/golangci-lint run --config $(CURDIR)/.golangci.yml ./...) || exit 1; done

modules: ## go.work is in step, and every module builds alone
	@before=$$(cat go.work $(MODULES:%=%/go.mod) | sha256sum); $(GO) work sync; \
	  [ "$$before" = "$$(cat go.work $(MODULES:%=%/go.mod) | sha256sum)" ] || { echo 'go work sync changes go.mod files: commit them'; exit 1; }
	@for m in $(MODULES); do (cd $$m && GOWORK=off $(GO) build ./...) || exit 1; done

cross: ## all but the worker build for macOS and Windows
	@for os in darwin windows; do for m in $(PORTABLE); do (cd $$m && GOOS=$$os CGO_ENABLED=0 $(GO) build ./...) || exit 1; done; done

clean: ## what was built; not .cache/ and .tools/
	rm -rf bin
