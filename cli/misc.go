package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"text/tabwriter"

	"github.com/rbee-project/rbee/messages"
	"github.com/vmihailenco/msgpack/v5"
)

func keysDir(dataDir string) string { return filepath.Join(dataDir, "keys") }

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(a *app) error {
	v := map[string]string{"version": Version, "go": runtime.Version(), "os": runtime.GOOS + "/" + runtime.GOARCH}
	return a.print([]any{v}, func(w *tabwriter.Writer) { columns(w, "rbee "+Version+" "+v["go"]+" "+v["os"]) })
}

type decodeCmd struct{}

// Run turns a stream of msgpack values into JSON lines. What is JSON already passes through. nats sub
// gives each message to a process of its own.
func (decodeCmd) Run(a *app) error {
	in := bufio.NewReader(io.LimitReader(a.stdin, 64<<20))
	if head, err := in.Peek(1); err == nil && head[0] == '{' {
		_, err := io.Copy(a.stdout, in)
		return err
	}
	dec := msgpack.NewDecoder(in)
	dec.SetMapDecoder(func(d *msgpack.Decoder) (any, error) { return d.DecodeUntypedMap() })
	for {
		if _, err := in.Peek(1); errors.Is(err, io.EOF) {
			return nil // between two values: the end
		}
		v, err := dec.DecodeInterfaceLoose()
		if err != nil {
			return messages.Errorf(messages.CodeBadRequest, "decode", "this is not msgpack: %w", err)
		}
		line, err := json.Marshal(readable(v))
		if err != nil {
			return messages.Errorf(messages.CodeBadRequest, "decode", "%w", err)
		}
		fmt.Fprintf(a.stdout, "%s\n", line)
	}
}

// readable makes keys strings, and bytes that are JSON JSON.
func readable(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for k, e := range v {
			m[fmt.Sprint(k)] = readable(e)
		}
		return m
	case []any:
		for i := range v {
			v[i] = readable(v[i])
		}
		return v
	case []byte:
		if json.Valid(v) {
			return json.RawMessage(v)
		}
		return v
	default:
		return v
	}
}
