package chattemplate

import "embed"

//go:embed builtin/*.jinja
var builtins embed.FS

// Builtin is a template of ours by name, for a model that brings none: "chatml", "deepseek",
// "gemma", "llama3", "mistral", "phi"; "" if the name is not known. Each says at its top which
// published format it writes.
func Builtin(name string) string {
	source, err := builtins.ReadFile("builtin/" + name + ".jinja")
	if err != nil {
		return ""
	}
	return string(source)
}
