// Package chattemplate turns a conversation into the text that a model was trained on, by the
// model's own chat template: Jinja, as transformers' apply_chat_template renders it. A template is
// hostile input, so it runs in a child process with limits of time, memory and size. A [Renderer]
// may be used by many goroutines at once.
//
// What differs from transformers: an undefined value's attribute is undefined, not an error;
// adding values of different types does not raise; a message's content null is "" but for templates
// that need null; {% with
// %}, {% import %}, {% include %}, recursive loops, "%" on strings and chained comparisons are not known.
package chattemplate
