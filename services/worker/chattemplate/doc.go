// Package chattemplate turns a conversation into the text that a model was trained on, by the
// model's own chat template: Jinja, as transformers' apply_chat_template renders it, or with
// [Options.Go] Go's text/template, as Ollama renders it. A template is
// hostile input, so it runs in a child process with limits of time, memory and size. A [Renderer]
// may be used by many goroutines at once.
//
// What differs from transformers: an undefined value's attribute is undefined, not an error;
// adding values of different types does not raise; a message's content null is "" but for templates
// that need null; {% with
// %}, {% import %}, {% include %}, recursive loops, "%" on strings and chained comparisons are not known.
//
// What differs from Ollama (v0.9.6): a function's nested properties and anyOf are not left out, as in
// later versions; whole numbers in a call's arguments keep all their digits; json and {{template}} work
// in the last turn of a template without .Messages, too; and .Suffix is never set.
package chattemplate
