package huggingface

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/huggingface/fakehub"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

func TestWhatIsSaid(t *testing.T) {
	bees := fakehub.Repo{Name: "bees/Honey-7B-GGUF", Files: append(lfs("honey-Q4_K_M.gguf", "honey-Q8_0.gguf", "mmproj-honey.gguf", "imatrix.gguf"), fakehub.File{Path: "README.md", Content: []byte("x")})}
	for name, tc := range map[string]struct {
		ref   string
		vars  []string
		set   func(*fakehub.Hub)
		code  messages.Code
		says  []string
		count int // of requests; 0 is any, -1 none
	}{
		"missing, without a token":   {ref: "hf:bees/Hony-7B-GGUF", code: messages.CodeModelUnknown, says: []string{"no repository bees/Hony-7B-GGUF", "did you mean hf:bees/Honey-7B-GGUF?", "a private one needs HF_TOKEN"}},
		"missing, with a token":      {ref: "hf:bees/Honey-7B", vars: []string{"HF_TOKEN", token}, code: messages.CodeModelUnknown, says: []string{"did you mean hf:bees/Honey-7B-GGUF", "HF_TOKEN may not see it"}},
		"the organization is wrong":  {ref: "hf:wasps/Honey-7B-GGUF", code: messages.CodeModelUnknown, says: []string{"did you mean hf:bees/Honey-7B-GGUF"}},
		"like nothing":               {ref: "hf:x/y", code: messages.CodeModelUnknown, says: []string{"check the name at https://huggingface.co/models"}},
		"missing quantization":       {ref: "hf:bees/Honey-7B-GGUF:Q4_K_L", code: messages.CodeModelUnknown, says: []string{"has no Q4_K_L; it has Q4_K_M, Q8_0", "try hf:bees/Honey-7B-GGUF:Q4_K_M"}},
		"missing file":               {ref: "hf:bees/Honey-7B-GGUF/honey-Q8_1.gguf", code: messages.CodeModelUnknown, says: []string{"no file honey-Q8_1.gguf", "try hf:bees/Honey-7B-GGUF/honey-Q8_0.gguf"}},
		"missing folder":             {ref: "hf:bees/Honey-7B-GGUF/Q8_0", code: messages.CodeModelUnknown, says: []string{"no folder with a model in it Q8_0", "Q4_K_M, Q8_0"}},
		"another file":               {ref: "hf:bees/Honey-7B-GGUF/README.md", code: messages.CodeBadRequest, says: []string{"README.md", "not a GGUF file"}},
		"a projector":                {ref: "hf:bees/Honey-7B-GGUF/mmproj-honey.gguf", code: messages.CodeBadRequest, says: []string{"is a projector", "Q4_K_M, Q8_0"}},
		"a matrix":                   {ref: "hf:bees/Honey-7B-GGUF/imatrix.gguf", code: messages.CodeBadRequest, says: []string{"is an importance matrix"}},
		"missing revision":           {ref: "hf:bees/Honey-7B-GGUF@v9", code: messages.CodeModelUnknown, says: []string{"no branch, tag or commit v9", "leave out @v9"}},
		"gated, without a token":     {ref: "hf:bees/gated", code: messages.CodeDenied, says: []string{"is gated", "/bees/gated", "set HF_TOKEN"}},
		"gated, without access":      {ref: "hf:bees/gated", vars: []string{"HF_TOKEN", token}, code: messages.CodeDenied, says: []string{"the token from HF_TOKEN has no access", "/bees/gated"}},
		"private":                    {ref: "hf:bees/private", code: messages.CodeModelUnknown, says: []string{"HF_TOKEN"}},
		"disabled":                   {ref: "hf:bees/disabled", code: messages.CodeDenied, says: []string{"was disabled"}},
		"a bad token":                {ref: "hf:bees/Honey-7B-GGUF", vars: []string{"HF_TOKEN", token + "x"}, code: messages.CodeDenied, says: []string{"does not accept the token from HF_TOKEN", "settings/tokens"}},
		"no GGUF":                    {ref: "hf:bees/Honey-7B-safe", code: messages.CodeModelUnknown, says: []string{"has no GGUF file", "safetensors", "try hf:bees/Honey-7B-GGUF"}},
		"nothing at all":             {ref: "hf:bees/empty", code: messages.CodeModelUnknown, says: []string{"has no GGUF file", "search=empty"}},
		"only a projector":           {ref: "hf:bees/proj", code: messages.CodeModelUnknown, says: []string{"only a projector"}},
		"not all parts":              {ref: "hf:bees/split", code: messages.CodeModelUnknown, says: []string{"split into 3 files", "m-Q4_0-00002-of-00003.gguf"}},
		"not all parts, asked for":   {ref: "hf:bees/split:Q4_0", code: messages.CodeModelUnknown, says: []string{"m-Q4_0-00002-of-00003.gguf"}},
		"too often":                  {ref: "hf:bees/Honey-7B-GGUF", set: func(h *fakehub.Hub) { h.RateLimit(0, 1, 37*time.Second) }, code: messages.CodeUnavailable, says: []string{"too many requests", "37s", "HF_TOKEN"}, count: 1},
		"too often, in the tree":     {ref: "hf:bees/Honey-7B-GGUF", set: func(h *fakehub.Hub) { h.RateLimit(1, 1, 37*time.Second) }, code: messages.CodeUnavailable, says: []string{"37s"}, count: 2},
		"broken":                     {ref: "hf:bees/Honey-7B-GGUF", set: func(h *fakehub.Hub) { h.Break(1, 502) }, code: messages.CodeUnavailable, says: []string{"502 Bad Gateway", "try later"}},
		"a teapot":                   {ref: "hf:bees/Honey-7B-GGUF", set: func(h *fakehub.Hub) { h.Break(1, 418) }, code: messages.CodeBadRequest, says: []string{"418"}},
		"forbidden":                  {ref: "hf:bees/Honey-7B-GGUF", set: func(h *fakehub.Hub) { h.Break(1, 403) }, code: messages.CodeDenied, says: []string{"does not let us"}},
		"offline":                    {ref: "hf:bees/Honey-7B-GGUF", vars: []string{"HF_HUB_OFFLINE", "1"}, code: messages.CodeUnavailable, says: []string{"HF_HUB_OFFLINE is set"}, count: -1},
		"offline by the other name":  {ref: "hf:bees/Honey-7B-GGUF", vars: []string{"TRANSFORMERS_OFFLINE", "yes"}, code: messages.CodeUnavailable, says: []string{"TRANSFORMERS_OFFLINE is set"}, count: -1},
		"no JSON":                    {ref: "hf:bees/Honey-7B-GGUF", set: func(h *fakehub.Hub) { h.Mangle(func(string, []byte) []byte { return []byte("<html>") }) }, code: messages.CodeUnavailable, says: []string{"is no HuggingFace hub"}},
		"too much":                   {ref: "hf:bees/Honey-7B-GGUF", set: func(h *fakehub.Hub) { h.Mangle(func(string, []byte) []byte { return make([]byte, maxInfo+1) }) }, code: messages.CodeBadRequest, says: []string{"more than 8388608 bytes"}},
		"broken while it is fetched": {ref: "hf:bees/Honey-7B-GGUF", set: func(h *fakehub.Hub) { h.Cut(nil); h.BreakCDN(1, 500) }, code: messages.CodeUnavailable, says: []string{"500"}},
	} {
		t.Run(name, func(t *testing.T) {
			hub, v := with(t, bees, tc.vars...)
			hub.AddToken(token)
			hub.Add(fakehub.Repo{Name: "bees/gated", Gated: true, Files: lfs("m-Q4_0.gguf")})
			hub.Add(fakehub.Repo{Name: "bees/private", Private: true, Files: lfs("m-Q4_0.gguf")})
			hub.Add(fakehub.Repo{Name: "bees/disabled", Disabled: true, Files: lfs("m-Q4_0.gguf")})
			hub.Add(fakehub.Repo{Name: "bees/Honey-7B-safe", Files: []fakehub.File{{Path: "model.safetensors", Content: []byte("x")}}})
			hub.Add(fakehub.Repo{Name: "bees/empty"})
			hub.Add(fakehub.Repo{Name: "bees/proj", Files: lfs("mmproj.gguf")})
			hub.Add(fakehub.Repo{Name: "bees/split", Files: lfs("m-Q4_0-00001-of-00003.gguf", "m-Q4_0-00003-of-00003.gguf")})
			if tc.set != nil {
				tc.set(hub)
			}
			a, err := v.Resolve(t.Context(), tc.ref)
			if err == nil && strings.HasPrefix(name, "gated") {
				t.Error("Resolve does not say that it is gated")
			}
			if err == nil {
				_, _, err = get(t, v, a.Files[0], vendor.Whole)
			}
			if messages.CodeOf(err) != tc.code || messages.AsError(err, "").Hint == "" {
				t.Fatalf("%v, with the code %s", err, messages.CodeOf(err))
			}
			for _, part := range tc.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if strings.Contains(errText(err), token) {
				t.Errorf("it shows the token: %v", err)
			}
			if got := len(hub.Requests()); tc.count > 0 && got != tc.count || tc.count < 0 && got != 0 {
				t.Errorf("%d requests", got)
			}
			if tc.code == messages.CodeUnavailable && !vendor.Temporary(err) || tc.code == messages.CodeModelUnknown && vendor.Temporary(err) {
				t.Errorf("temporary is %v for %v", vendor.Temporary(err), err)
			}
			if strings.HasPrefix(name, "too often") && vendor.Wait(err) != 37*time.Second {
				t.Errorf("it is to be left alone for %v", vendor.Wait(err))
			}
		})
	}
}

// TestTokensAreNotRepeated has a hub that writes the token into its errors.
func TestTokensAreNotRepeated(t *testing.T) {
	hub := fakehub.Start(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Error-Message", "bad "+r.Header.Get("Authorization"))
			http.Error(w, "bad "+r.Header.Get("Authorization"), http.StatusForbidden)
		})
	})
	defer hub.Close()
	_, err := newFor(t, hub, "HF_TOKEN", token).Resolve(t.Context(), "hf:o/r")
	if messages.CodeOf(err) != messages.CodeDenied || strings.Contains(errText(err), token) {
		t.Error(err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := ln.Addr().String()
	ln.Close()
	for _, endpoint := range []string{"http://" + closed, "http://no-such-host.invalid"} {
		v := New(at("HF_ENDPOINT", endpoint, "HF_TOKEN", token))
		_, err := v.Resolve(t.Context(), "hf:o/r")
		if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "cannot reach "+v.env.endpoint.Host) || strings.Contains(err.Error(), v.env.endpoint.Host+": "+v.env.endpoint.Host+": ") || !strings.Contains(err.Error(), "HF_ENDPOINT") {
			t.Error(err)
		}
		_, err = v.Fetch(t.Context(), &vendor.File{Source: "hf:o/r/m.gguf@" + strings.Repeat("a", 40)}, vendor.Whole)
		if messages.CodeOf(err) != messages.CodeUnavailable || !vendor.Temporary(err) {
			t.Error(err)
		}
	}
}

// What the environment forbids is told so that the catalog can tell it from a network that is down.
func TestOfflineIsTold(t *testing.T) {
	hub := fakehub.Start()
	defer hub.Close()
	_, err := newFor(t, hub, "HF_HUB_OFFLINE", "1").Resolve(t.Context(), "hf:o/r")
	if !errors.Is(err, vendor.ErrOffline) {
		t.Error(err)
	}
}
