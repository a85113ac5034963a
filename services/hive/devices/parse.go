package devices

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/rbee-project/rbee/messages"
)

const (
	maxDevices = 64
	maxID      = 64  // bytes
	maxName    = 256 // bytes
)

// line is one device as the worker writes it.
type line struct {
	ID               string `json:"id"`
	Name             string `json:"name"`
	Description      string `json:"description"`
	Kind             string `json:"kind"`
	MemoryTotalBytes uint64 `json:"memory_total_bytes"`
	MemoryFreeBytes  uint64 `json:"memory_free_bytes"`
}

// parse reads one device a line. A line that is none, such as a driver's chatter, is skipped, and so
// is a device that was named before.
func parse(out []byte) []messages.Device {
	var found []messages.Device
	for text := range bytes.Lines(out) {
		d, ok := parseLine(text)
		if !ok || slices.ContainsFunc(found, func(f messages.Device) bool { return f.ID == d.ID }) {
			continue
		}
		if found = append(found, d); len(found) == maxDevices {
			break
		}
	}
	return found
}

func parseLine(text []byte) (messages.Device, bool) {
	var l line
	if !bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) || json.Unmarshal(text, &l) != nil {
		return messages.Device{}, false
	}
	if l.ID == "" || len(l.ID) > maxID || strings.ContainsFunc(l.ID, func(r rune) bool {
		return r <= ' ' || r > '~' // it travels in requests and is typed by people
	}) {
		return messages.Device{}, false
	}
	// Both are in use: ggml calls the product's name the description, and its id the name.
	name := l.Description
	if name == "" {
		name = l.Name
	}
	return messages.Device{
		ID: l.ID, Name: readable(name), Kind: kind(l.Kind, l.ID),
		MemoryTotalBytes: l.MemoryTotalBytes,
		MemoryFreeBytes:  min(l.MemoryFreeBytes, l.MemoryTotalBytes),
	}, true
}

func kind(given, id string) string {
	given = strings.ToLower(given)
	switch {
	case slices.Contains([]string{"cpu", "gpu", "igpu", "accel"}, given):
		return given
	case strings.EqualFold(id, "cpu"):
		return "cpu"
	default:
		return "accel" // something that computes and that we do not know
	}
}

// readable is s without control characters and at most maxName bytes.
func readable(s string) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return s
}
