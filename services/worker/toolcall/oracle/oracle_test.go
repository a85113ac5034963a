// Package oracle compares toolcall with yzma's parser of whole answers. It is a folder of its own because
// yzma's package loads libffi when it is imported, which not every machine has.
package oracle

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/hybridgroup/yzma/pkg/message"

	"github.com/rbee-project/rbee/services/worker/toolcall"
)

// The texts have string arguments only: yzma turns all others into strings.
func TestSameCallsAsYzma(t *testing.T) {
	for _, tc := range []struct {
		format toolcall.Format
		text   string
		calls  int
	}{
		{toolcall.Hermes, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>", 1},
		{toolcall.Hermes, "I look.\n<tool_call>{\"arguments\": {\"a\": \"{\\\"}\"}, \"name\": \"f\"}</tool_call>\n<tool_call>{\"name\": \"g\", \"arguments\": {}}</tool_call>", 2},
		{toolcall.Hermes, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"b\"}", 1},
		{toolcall.Hermes, "<tool_call>f(1)</tool_call>", 0},
		{toolcall.Hermes, "nothing to call", 0},
		{toolcall.Mistral, `[TOOL_CALLS]f[ARGS]{"a":"}\\"}[TOOL_CALLS]g[ARGS]{"b":"ü"}`, 2},
		{toolcall.Mistral, `Ok. [TOOL_CALLS]f[ARGS]{"a":"[ARGS]"}`, 1},
	} {
		theirs := message.ParseToolCalls(tc.text)
		ours := calls(t, tc.format, tc.text)
		if len(theirs) != tc.calls || len(ours) != tc.calls {
			t.Errorf("%q: %d calls, yzma has %d, want %d", tc.text, len(ours), len(theirs), tc.calls)
			continue
		}
		for i, c := range ours {
			if y := theirs[i].Function; y.Name != c.Name || !maps.Equal(y.Arguments, c.Arguments) {
				t.Errorf("%q: %+v, yzma has %+v", tc.text, c, y)
			}
		}
	}
}

func calls(t *testing.T, format toolcall.Format, text string) []message.ToolFunction {
	t.Helper()
	p := toolcall.New(toolcall.Options{Format: format})
	var out []message.ToolFunction
	var args strings.Builder
	for _, e := range p.End(p.Add(nil, text)) {
		switch e.Kind {
		case toolcall.ToolBegin:
			out = append(out, message.ToolFunction{Name: e.Name})
			args.Reset()
		case toolcall.ToolArguments:
			args.WriteString(e.Text)
		case toolcall.ToolEnd:
			if err := json.Unmarshal([]byte(args.String()), &out[len(out)-1].Arguments); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
	}
	return out
}
