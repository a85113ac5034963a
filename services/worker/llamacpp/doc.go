// Package llamacpp runs llama.cpp inside this process, without cgo: one [Engine] serves one model
// with several slots, whose requests are decoded together. An Engine may be used by many goroutines
// at once. Decoding and all that touches llama.cpp's contexts is done by one goroutine per engine,
// which is locked to its thread; requests' own goroutines cut text up and make their samplers, which
// only read the model.
//
// An assert inside llama.cpp ends the process and Go cannot catch it. So whatever a client sends is
// checked before it gets there, and sizes are checked again before each step.
package llamacpp
