package hive

import (
	"fmt"
	"math"

	"github.com/dustin/go-humanize"
)

// ByteSize is a flag for a number of bytes: "5MB", "1.5 GiB", "200000".
type ByteSize int64

// UnmarshalText reads it, with units of 1000 (MB) or 1024 (MiB). A rate's "/s" may be there.
func (b *ByteSize) UnmarshalText(text []byte) error {
	s := string(text)
	if n := len(s); n > 2 && s[n-2:] == "/s" {
		s = s[:n-2]
	}
	n, err := humanize.ParseBytes(s)
	if err != nil || n > math.MaxInt64 {
		return fmt.Errorf("%q is no number of bytes, like 5MB or 1.5GiB", text)
	}
	*b = ByteSize(n)
	return nil
}
