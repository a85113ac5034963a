// Package toolcall splits the text that a language model generates, while it comes, into reasoning,
// content and tool calls, as OpenAI's chat streaming shows them. A [Parser] serves one answer and one
// goroutine. What comes out depends on the text alone, not on how it was cut into pieces.
//
// # Formats
//
//   - [Hermes]: <tool_call>{"name": "f", "arguments": {…}}</tool_call>, as in the chat templates of
//     Hermes 2 Pro and 3, Qwen 2.5, Qwen 3 and QwQ. Several objects in one tag are several calls.
//   - [Llama3]: the whole answer is {"name": "f", "parameters": {…}}, or several with ";" or white space
//     between (llama.com, "Model Cards & Prompt formats", Llama 3.1, JSON based tool calling).
//   - [Mistral]: [TOOL_CALLS][{"name": "f", "arguments": {…}}, …] of tokenizers v3 and v7, and
//     [TOOL_CALLS]f[CALL_ID]id[ARGS]{…} of v11 and v13, where [CALL_ID] and [ARGS] may be absent.
//   - [DeepSeek]: <｜tool▁call▁begin｜>function<｜tool▁sep｜>f and a fenced JSON object (V3, R1), or
//     <｜tool▁call▁begin｜>f<｜tool▁sep｜>{…} (V3.1).
//
// llama.cpp's docs/function-calling.md lists which models speak which; its tests/test-chat.cpp has
// samples, from which this package's tests took their shapes. Not supported: the XML of Qwen3-Coder
// (<function=f>), Llama's built-in tools (f.call(…)) and pythonic lists, and arguments that are not a
// JSON object. Such text comes out as content.
//
// A marker that is one special token has no text unless the tokenizer is asked for it: see
// [Format.Markers]. Without the text, Llama 3 and Mistral are understood at the beginning of the answer
// and after a call, where only a function that was offered is a call; DeepSeek is not.
//
// # What is changed, and what is held back
//
// White space next to a call or a reasoning block is dropped, up to [MaxSpace] bytes before it; all
// other text comes out as it went in. So white space at the end of a piece waits for what follows, as
// does what may be the beginning of a marker. A call waits until its name and the opening brace of its
// arguments have come; then the arguments stream, byte for byte as the model wrote them. They end at the
// brace that closes them: what a model forgets after that (a brace, an end tag) does not spoil a call.
//
// # When a model breaks a call
//
// Before its [ToolBegin], all of its text comes out as content, and later calls are still looked for.
// After it, what was sent cannot be taken back: there is no [ToolEnd], everything else is content, and
// [Parser.Broken] says so. The arguments of a call with a ToolEnd are one valid JSON object.
//
// yzma's pkg/message reads more formats, but only from whole text, with all arguments turned into
// strings, and importing it loads libffi; a test in the folder oracle compares calls with it.
package toolcall
