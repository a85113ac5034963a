package spawn

import (
	"io"
	"os"
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
	size := fi.Size() - from
	if size <= TailBytes {
		return clean(read(f, from, int(size)))
	}
	var first string
	if head > 0 {
		first = read(f, from, head) + gap
	}
	room := TailBytes - len(first)
	last := read(f, fi.Size()-int64(room), room)
	if _, after, ok := strings.Cut(last, "\n"); ok && after != "" {
		last = after // the first line is only half there
	}
	return clean(first + last)
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
