package gguf

import (
	"errors"
	"fmt"
)

// Every error of [ReadHeader] and [OpenHeader] that comes from the file's contents wraps exactly
// one of these; an error that wraps none is the reader's own (a missing file, a failing disk).
var (
	// ErrNotGGUF says that the file does not start with the four bytes "GGUF".
	ErrNotGGUF = errors.New("not a GGUF file")
	// ErrTruncated says that the file ends before the last byte its header promises, as a
	// broken download does. The message gives both numbers.
	ErrTruncated = errors.New("truncated GGUF file")
	// ErrVersion says that the file's format version is neither 2 nor 3, or its bytes are big-endian.
	ErrVersion = errors.New("unsupported GGUF version")
	// ErrBounds says that a count or a length in the header is over one of this package's
	// limits, such as [MaxKeys]. No real model comes near them.
	ErrBounds = errors.New("GGUF header over its bounds")
	// ErrMalformed says that the header contradicts itself or the format.
	ErrMalformed = errors.New("malformed GGUF header")
	// ErrTensorType says that a tensor has a type that this package does not know.
	ErrTensorType = errors.New("unknown GGUF tensor type")
	// ErrModel is [CheckModel]'s and [OpenModel]'s alone: the header is sound, but engines cannot compute
	// with what it describes.
	ErrModel = errors.New("unusable model")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func tooMuch(what string, got, limit uint64) error {
	return fmt.Errorf("%w: %s: %d, the limit is %d", ErrBounds, what, got, limit)
}

func truncated(size, promised uint64) error {
	return fmt.Errorf("%w: the file has %d bytes, its header promises at least %d", ErrTruncated, size, promised)
}
