// Remakes golden.json with Ollama's own code. In a module of its own, outside of this repository:
//
//	go mod init golden && go get github.com/ollama/ollama/template@v0.9.6
//	cp …/testdata/go/golden.go . && go run golden.go …/testdata > golden.json
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ollama/ollama/api"
	"github.com/ollama/ollama/template"
)

// conversation is one of conversations.json, as the template sees it.
func conversation(raw json.RawMessage) (v template.Values) {
	var in struct {
		Messages []struct {
			api.Message
			Reasoning string `json:"reasoning_content"`
			Name      string
		}
		Tools api.Tools
		Extra struct {
			Think *bool `json:"enable_thinking"`
		}
	}
	check(json.Unmarshal(raw, &in))
	v.Tools, v.IsThinkSet = in.Tools, in.Extra.Think != nil
	v.Think = v.IsThinkSet && *in.Extra.Think
	for _, m := range in.Messages {
		m.Thinking, m.ToolName = m.Reasoning, m.Name
		v.Messages = append(v.Messages, m.Message)
	}
	return v
}

func main() {
	raw, err := os.ReadFile(filepath.Join(os.Args[1], "conversations.json"))
	check(err)
	var conversations map[string]json.RawMessage
	check(json.Unmarshal(raw, &conversations))
	files, err := filepath.Glob(filepath.Join(os.Args[1], "go", "*.gotmpl"))
	check(err)
	out := map[string]map[string]string{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		check(err)
		t, err := template.Parse(string(source))
		check(err)
		texts := map[string]string{}
		for _, name := range slices.Sorted(maps.Keys(conversations)) {
			var b bytes.Buffer
			check(t.Execute(&b, conversation(conversations[name])))
			texts[name] = b.String()
		}
		out[strings.TrimSuffix(filepath.Base(file), ".gotmpl")] = texts
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", " ")
	e.SetEscapeHTML(false)
	check(e.Encode(out))
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
