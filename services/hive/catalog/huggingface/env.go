package huggingface

import (
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/rbee-project/rbee/messages"
)

const (
	defaultEndpoint = "https://huggingface.co"
	maxTokenFile    = 64 << 10 // bytes
)

// environment is what the variables say; see the package's documentation.
type environment struct {
	endpoint  *url.URL // its path ends without a slash
	bad       error    // what is wrong with HF_ENDPOINT
	offline   string   // the variable that says so; "" if none does
	noToken   bool
	tokenEnv  string // the variable that has the token
	token     string
	tokenPath string // of the file, read at each use; "" if it cannot be told
}

func readEnv(getenv func(string) string) environment {
	var e environment
	text := strings.TrimRight(getenv("HF_ENDPOINT"), "/")
	if text == "" {
		text = defaultEndpoint
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		e.bad = messages.Errorf(messages.CodeBadRequest, op, "HF_ENDPOINT is no address that can be used").
			WithHint("set it to one such as https://huggingface.co, or unset it")
	} else {
		e.endpoint = u
	}
	for _, name := range []string{"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		if e.offline == "" && getenv(name) != "" {
			if isTrue(getenv(name)) {
				e.offline = name
			}
			break // the first that is set counts
		}
	}
	e.noToken = isTrue(getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if e.token == "" && getenv(name) != "" {
			e.tokenEnv, e.token = name, cleanToken(getenv(name))
			break
		}
	}
	e.tokenPath = tokenPath(getenv)
	return e
}

func isTrue(s string) bool {
	switch strings.ToUpper(s) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

func tokenPath(getenv func(string) string) string {
	home := getenv("HOME")
	if home == "" {
		home = getenv("USERPROFILE")
	}
	expand := func(s string) string {
		if s == "~" || strings.HasPrefix(s, "~/") {
			s = home + s[1:]
		}
		return os.Expand(s, getenv)
	}
	if p := getenv("HF_TOKEN_PATH"); p != "" {
		return expand(p)
	}
	if p := getenv("HF_HOME"); p != "" {
		return filepath.Join(expand(p), "token")
	}
	if p := getenv("XDG_CACHE_HOME"); p != "" {
		return filepath.Join(expand(p), "huggingface", "token")
	}
	if home == "" {
		return ""
	}
	return filepath.Join(home, ".cache", "huggingface", "token")
}

func cleanToken(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(s))
}

// secret is a token and where it came from. Only [Vendor.request] looks at its value.
type secret struct {
	value  string
	source string // "HF_TOKEN", or "the file /home/bee/.cache/huggingface/token"
}

// readToken gives the token, which may be none. The file is read each time: people log in while a hive runs.
func (e *environment) readToken() (secret, error) {
	s := secret{value: e.token, source: e.tokenEnv}
	if e.noToken {
		return secret{}, nil
	}
	if s.value == "" && e.tokenPath != "" {
		text, err := readSmall(e.tokenPath)
		if err != nil {
			return secret{}, messages.Errorf(messages.CodeDenied, op, "the file of the HuggingFace token cannot be read: %w", err).
				WithHint("mend it, or set HF_TOKEN")
		}
		s = secret{value: cleanToken(text), source: "the file " + e.tokenPath}
	}
	for _, r := range s.value {
		if r <= ' ' || r > '~' {
			return secret{}, messages.Errorf(messages.CodeDenied, op, "what is in %s is no token: it has characters that no token has", s.source).
				WithHint("copy the token again from https://huggingface.co/settings/tokens")
		}
	}
	return s, nil
}

// readSmall gives a file's content, "" if there is none.
func readSmall(path string) (string, error) {
	st, err := os.Stat(path) // a pipe would have us wait for ever
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if !st.Mode().IsRegular() || st.Size() > maxTokenFile {
		return "", &fs.PathError{Op: "read", Path: path, Err: errors.New("it is no small file")}
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile))
	return string(text), err
}
