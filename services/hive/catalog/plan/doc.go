// Package plan says what a worker with a model takes, before the model is downloaded or started: it reads
// the headers of the model's files, by ranges where they are far away, and adds up weights, attention cache,
// compute memory and the process itself.
//
// A header comes from a stranger. Nothing else sees it before package gguf's bounded reader has checked it,
// and what github.com/gpustack/gguf-parser-go then gets is cut down to the model's own keys and to sizes
// that real models have. A [Header] is not changed after it is returned, so many goroutines may use one.
package plan
