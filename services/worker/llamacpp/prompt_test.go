package llamacpp

import (
	"strings"
	"testing"

	"github.com/rbee-project/rbee/services/worker/completion"
)

func TestTemplates(t *testing.T) {
	if _, err := loadLibrary(libDir(t)); err != nil {
		t.Fatal(err)
	}
	talk := []completion.Message{{Role: "system", Content: "Be brief."}, {Role: "user", Content: "Hi"}}
	ml := "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
	for name, tc := range map[string]struct{ template, want string }{
		"none":       {"", ml},
		"unknown":    {"{{ a template that nobody has seen }}", ml},
		"chatml":     {"{% for m in messages %}{{'<|im_start|>' + m['role']}}{% endfor %}", ml},
		"by content": {"{{ '<|start_header_id|>' }} {{ '<|end_header_id|>' }}", "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
	} {
		if got := applyTemplate(tc.template, talk); got != tc.want {
			t.Errorf("%s:\n%q, want\n%q", name, got, tc.want)
		}
	}
	if chatML(talk) != ml {
		t.Errorf("our own ChatML is %q", chatML(talk))
	}
	long := []completion.Message{{Role: "user", Content: strings.Repeat("honey ", 50000)}}
	if got := applyTemplate("", long); !strings.Contains(got, long[0].Content) {
		t.Error("a long message is cut")
	}
}
