package huggingface

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
)

const maxFileSize = 1 << 50 // bytes; no file of the hub comes near

// info is what the hub says of a repository.
type info struct {
	Repo          string // its name today; "" if it tells none that could be
	Commit        string
	License       string
	Architecture  string
	ContextLength int
	Gated         bool
}

// parseInfo reads the answer of /api/models/{repo}/revision/{rev}. Only the commit has to be right.
func parseInfo(body []byte) (info, error) {
	var raw struct {
		ID       json.RawMessage `json:"id"`
		Sha      string          `json:"sha"`
		Tags     json.RawMessage `json:"tags"`
		CardData json.RawMessage `json:"cardData"`
		GGUF     json.RawMessage `json:"gguf"`
		Gated    json.RawMessage `json:"gated"` // false, or "auto", "manual"
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return info{}, fmt.Errorf("its information on the repository is not what it should be: %w", err)
	}
	if !commitShape.MatchString(raw.Sha) {
		return info{}, errors.New("its information on the repository has no commit")
	}
	i := info{Commit: raw.Sha, Gated: text(raw.Gated) != "" || string(raw.Gated) == "true"}
	if id := text(raw.ID); validRepo(id) {
		i.Repo = id
	}
	gguf := fields(raw.GGUF)
	i.Architecture = word(text(gguf["architecture"]))
	var n float64
	if json.Unmarshal(gguf["context_length"], &n) == nil && n >= 1 && n <= math.MaxInt32 {
		i.ContextLength = int(n)
	}
	i.License = license(fields(raw.CardData)["license"], raw.Tags)
	return i, nil
}

// license is that of the model's card, a word or a list of them, else the tag license:.
func license(card, tags json.RawMessage) string {
	var list []json.RawMessage
	if json.Unmarshal(card, &list) == nil && len(list) > 0 {
		card = list[0]
	}
	if s := word(text(card)); s != "" {
		return s
	}
	if json.Unmarshal(tags, &list) == nil {
		for _, t := range list {
			if s, ok := strings.CutPrefix(text(t), "license:"); ok && word(s) != "" {
				return word(s)
			}
		}
	}
	return ""
}

// text is a JSON string's, "" for anything else.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// fields are those of a JSON object, none for anything else.
func fields(raw json.RawMessage) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

var wordShape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._+/-]{0,79}$`)

// word is s if it can be shown as it is, else "".
func word(s string) string {
	if wordShape.MatchString(s) {
		return s
	}
	return ""
}

// entry is a file of a repository.
type entry struct {
	Path   string
	Size   int64
	Digest string // "sha256:…" of a file in LFS, else ""
	part   int    // of a split model, from 1
}

// parseTree reads a page of /api/models/{repo}/tree/{commit}: the files of it, and how many entries it has. Files
// whose names could not be are left out.
func parseTree(body []byte) (files []entry, n int, err error) {
	var raw []struct {
		Type string `json:"type"`
		Path string `json:"path"`
		Size int64  `json:"size"`
		LFS  *struct {
			OID  string `json:"oid"`
			Size int64  `json:"size"`
		} `json:"lfs"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, 0, fmt.Errorf("its list of files is not what it should be: %w", err)
	}
	for _, r := range raw {
		if r.Type != "file" || !validPath(r.Path) {
			continue
		}
		e := entry{Path: r.Path, Size: r.Size}
		if r.LFS != nil {
			if !sha256Shape.MatchString(r.LFS.OID) || r.LFS.Size != r.Size {
				return nil, 0, fmt.Errorf("its list of files has no right sha256 or size for %q", r.Path)
			}
			e.Digest = "sha256:" + r.LFS.OID
		}
		if e.Size < 0 || e.Size > maxFileSize {
			return nil, 0, fmt.Errorf("its list of files says that %q has %d bytes", r.Path, e.Size)
		}
		files = append(files, e)
	}
	return files, len(raw), nil
}
