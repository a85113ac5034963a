package chattemplate

import (
	"errors"
	"strings"
	"time"
)

// Caps is what a template can do, found by trial renders.
type Caps struct {
	// Tools says that the template writes tool definitions.
	Tools bool
	// ToolCalls says that the template writes an assistant's tool_calls.
	ToolCalls bool
	// System says that the template takes a system message. Where it does not, Render puts the
	// system's text before the next user's; of a Go template it is lost, as in Ollama.
	System bool
	// Reasoning says that the template knows of thinking: <think>, enable_thinking, reasoning_content.
	Reasoning bool
	// StartsThinking says that the generation prompt itself ends in an open <think>: the answer
	// begins inside the reasoning. For a client's chat_template_kwargs look at the rendered text.
	StartsThinking bool
	// Format is a guess, from the source, at how the model writes tool calls: "hermes"
	// (<tool_call>{…}), "qwen3-coder" (<tool_call><function=…>), "llama3" ({"name":…,
	// "parameters":…}), "mistral" ([TOOL_CALLS]), "deepseek" (<｜tool▁calls▁begin｜>), "gpt-oss"
	// (<|channel|>), "functionary" (<function=…>), "phi4" (<|tool_call|>), "command-r"
	// ({"tool_name":…}), or "".
	Format string
}

// What trial renders look for.
const (
	needleUser   = "rbee needle user"
	needleSystem = "rbee needle system"
	needleTool   = "rbee_needle_tool"
	needleArg    = "rbee_needle_arg"
)

const (
	trialUser   = `{"role":"user","content":"` + needleUser + `"}`
	trialSystem = `{"role":"system","content":"` + needleSystem + `"}`
	trialTool   = `{"type":"function","function":{"name":"` + needleTool + `","description":"d","parameters":` +
		`{"type":"object","properties":{"` + needleArg + `":{"type":"string","description":"d"}},"required":["` + needleArg + `"]}}}`
	// Nine letters and digits: Mistral's templates refuse any other id.
	trialCall = `{"role":"assistant","content":null,"tool_calls":[{"id":"abcdef123","type":"function",` +
		`"function":{"name":"` + needleTool + `","arguments":"{\"` + needleArg + `\":\"v\"}"}}]}`
	trialResult = `{"role":"tool","tool_call_id":"abcdef123","name":"` + needleTool + `","content":"r"}`
)

// trial is what a template makes of messages, "" if it fails.
func trial(p program, tools bool, messages ...string) string {
	s, _ := tryOut(p, tools, messages...)
	return s
}

func tryOut(p program, tools bool, messages ...string) (string, error) {
	in := Input{Messages: rawJSON(messages...), AddGenerationPrompt: true, Date: time.Unix(0, 0).UTC()}
	if tools {
		in.Tools = rawJSON(trialTool)
	}
	parts, err := p.render(in)
	return joinText(parts), err
}

// errNoUser is of a template that is of no use.
var errNoUser = errors.New("the template does not write a user's message")

// learn finds out what the template can do and needs. It fails if the template cannot write one
// user's message.
func (t *template) learn(source string) (Caps, error) {
	plain, err := tryOut(t, false, trialUser)
	if !strings.Contains(plain, needleUser) {
		t.needs.listContent = true
		if s, listErr := tryOut(t, false, trialUser); strings.Contains(s, needleUser) {
			plain, err = s, listErr
		} else if err == nil {
			err = errNoUser
		}
	}
	if err != nil {
		return Caps{}, err
	}
	c := capsOf(t, source, plain)
	t.needs.noSystem = !c.System
	c.ToolCalls = t.learnCalls(c.Tools)
	return c, nil
}

// capsOf finds out all but ToolCalls. plain is the render of one user's message.
func capsOf(p program, source, plain string) Caps {
	c := Caps{Format: callFormat(source), StartsThinking: strings.HasSuffix(strings.TrimSpace(plain), "<think>")}
	for _, sign := range []string{"<think>", "</think>", "enable_thinking", "reasoning_content"} {
		c.Reasoning = c.Reasoning || strings.Contains(source, sign)
	}
	system := trial(p, false, trialSystem, trialUser)
	c.System = strings.Contains(system, needleSystem) && strings.Contains(system, needleUser)
	c.Tools = strings.Contains(trial(p, true, trialUser), needleTool)
	return c
}

// writesCall says whether a render has the trial's call.
func writesCall(s string) bool {
	return strings.Contains(s, needleTool) && strings.Contains(s, needleArg)
}

// learnCalls tries the forms that an assistant's call may have.
func (t *template) learnCalls(tools bool) bool {
	try := func(stringArguments bool) string {
		t.needs.stringArguments = stringArguments
		return trial(t, tools, trialUser, trialCall, trialResult)
	}
	for _, t.needs.nullContent = range []bool{false, true} {
		dict, json := try(false), try(true)
		if writesCall(dict) || writesCall(json) {
			// A dict that is added to a string comes out as Python writes it.
			t.needs.stringArguments = !writesCall(dict) ||
				strings.Contains(dict, `'`+needleArg+`'`) && strings.Contains(json, `"`+needleArg+`"`)
			return true
		}
	}
	t.needs.nullContent, t.needs.stringArguments = false, false
	return false
}

// callFormat guesses by what a source mentions, the more telling first.
func callFormat(source string) string {
	for _, f := range []struct{ sign, format string }{
		{"[TOOL_CALLS]", "mistral"},
		{"<｜tool▁calls▁begin｜>", "deepseek"}, {"<｜tool▁call▁begin｜>", "deepseek"},
		{"<|channel|>", "gpt-oss"},
		{"<|tool_call|>", "phi4"},
		{"<function=", ""},
		{"<tool_call>", "hermes"},
		{`"tool_name": `, "command-r"}, {`\"tool_name\": `, "command-r"},
		{"<|python_tag|>", "llama3"}, {`"parameters": `, "llama3"}, {`\"parameters\": `, "llama3"},
	} {
		if !strings.Contains(source, f.sign) {
			continue
		}
		if f.format != "" {
			return f.format
		}
		if strings.Contains(source, "<tool_call>") {
			return "qwen3-coder"
		}
		if strings.Contains(source, "<|python_tag|>") {
			return "llama3"
		}
		return "functionary"
	}
	return ""
}
