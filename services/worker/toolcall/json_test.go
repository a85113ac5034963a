package toolcall

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestScanner(t *testing.T) {
	for _, s := range []string{`{}`, `[]`, `{"a":-0.5e+1,"b":[true,false,null,"\u00e9\n",{}]}`, ` [ 1 , 2 ]`, `{"a":1,}`, `[1,]`, `[01]`,
		`[1.]`, `[-]`, `[1e]`, `[tru]`, `{"a"}`, `{a:1}`, `["\x"]`, `["\u00g0"]`, "[\"\n\"]", `[}`, `{]`, `[1 2]`, `[1]2`, `[nulll]`} {
		checkScanner(t, s)
	}
}

// checkScanner compares the scanner with encoding/json for objects and arrays.
func checkScanner(t *testing.T, text string) {
	t.Helper()
	if trimmed := strings.TrimLeft(text, space); trimmed == "" || trimmed[0] != '{' && trimmed[0] != '[' {
		return
	}
	var s scanner
	ok := true
	text = strings.TrimRight(text, space)
	for i := 0; ok && i < len(text); i++ {
		ok = s.next(text[i])
	}
	got := ok && s.state == isDone
	if want := json.Valid([]byte(text)); got != want && s.depth < MaxDepth {
		t.Errorf("%q: valid %v, want %v", text, got, want)
	}
}

func FuzzScanner(f *testing.F) {
	for _, s := range []string{`{"a":-0.5e+1,"b":[true,false,null,"\u00e9\n",{}]}`, `[01]`, `[1.]`, `[[],{}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkScanner(t, s) })
}
