package spawn

import (
	"io"
	"os"
	"regexp"
	"strings"
)

// TailBytes bounds [Exit.StderrTail].
const TailBytes = 4 << 10

const gap = "\n...\n"

func fileSize(path string) int64 {
	if path == "" {
		return 0
	}
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return fi.Size()
}

// lastWords is the crash report if there is one, else the end of what the log got since logFrom.
func lastWords(crash, log string, logFrom int64) string {
	// A crash report says why in its first lines, a log in its last.
	if s := excerpt(crash, 0, TailBytes/2); s != "" {
		return s
	}
	return excerpt(log, logFrom, 0)
}

// Tail is the end of a log, at most [TailBytes] of valid UTF-8; "" if it cannot be read.
func Tail(log string) string { return excerpt(log, 0, 0) }

// excerpt is what path holds from offset from on, at most [TailBytes]: the first head bytes and, for
// the rest, whole lines from the end. A file that shrank was rotated and is read from its start.
// Unreadable is "": an exit report does without it.
func excerpt(path string, from int64, head int) string {
	if path == "" {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		return ""
	}
	if fi.Size() < from {
		from = 0
	}
	end := reasonEnd(f, from, fi.Size())
	size := end - from
	if size <= TailBytes {
		return clean(read(f, from, int(size)))
	}
	var first string
	if head > 0 {
		first = read(f, from, head) + gap
	}
	room := TailBytes - len(first)
	last := read(f, end-int64(room), room)
	if _, after, ok := strings.Cut(last, "\n"); ok && after != "" {
		last = after // the first line is only half there
	}
	return clean(first + last)
}

// maxDump bounds how far from its end a log is searched for the start of a crash, in bytes.
const maxDump = 1 << 20

var (
	signalled = regexp.MustCompile(`(?m)^SIG[A-Z]+: .*$`)
	panicked  = regexp.MustCompile(`(?m)^(panic|fatal error): `)
)

// reasonEnd is where the reason of a crash ends in a log of size bytes: what Go's runtime writes after it,
// every goroutine and the registers, is 15 KB and more, and would push the reason out of the last lines. An
// assert in a C library is the line before "SIGABRT: abort". Without a crash at the log's end it is size.
func reasonEnd(f *os.File, from, size int64) int64 {
	start := max(from, size-maxDump)
	text := read(f, start, int(size-start))
	crash, end := -1, -1
	for _, at := range panicked.FindAllStringIndex(text, -1) {
		crash = at[0]
		if n := strings.Index(text[crash:], "\n\ngoroutine "); n >= 0 {
			end = crash + n
		}
	}
	for _, at := range signalled.FindAllStringIndex(text, -1) {
		if at[0] > crash && strings.Contains(text[at[1]:], "\n\ngoroutine ") {
			crash, end = at[0], at[1]
		}
	}
	if end < 0 || strings.Contains(text[crash:], "\n{\"time\":") { // the log went on, so that was another run's
		return size
	}
	return start + int64(end)
}

func read(f *os.File, at int64, n int) string {
	b := make([]byte, n)
	n, err := f.ReadAt(b, at)
	if err != nil && err != io.EOF {
		return ""
	}
	return string(b[:n])
}

// clean makes s valid UTF-8 without growing it, since it travels as JSON.
func clean(s string) string {
	return strings.TrimSpace(strings.ToValidUTF8(s, "?"))
}
