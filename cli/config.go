package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// yamlConfig is a --config file: a value for any flag by its name, those of a command under the
// command's name. An environment variable wins over the file, a flag over both.
//
//	data-dir: /srv/rbee
//	up: {http: "127.0.0.1:8080"}
type yamlConfig map[string]any

func yamlFile(r io.Reader) (kong.Resolver, error) {
	v := yamlConfig{}
	if err := yaml.NewDecoder(r).Decode((*map[string]any)(&v)); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("config: %w", err)
	}
	return v, nil
}

// Validate refuses a key that is no flag and no command: a typing error must not be silent.
func (c yamlConfig) Validate(app *kong.Application) error { return checkKeys(c, app.Node, "") }

func checkKeys(values map[string]any, n *kong.Node, path string) error {
	for key, v := range values {
		if hasFlag(n, key) {
			continue
		}
		var child *kong.Node
		for _, c := range n.Children {
			if c.Name == key {
				child = c
			}
		}
		section, isMap := v.(map[string]any)
		if child == nil || !isMap {
			return fmt.Errorf("config: %q is no flag or command", path+key)
		}
		if err := checkKeys(section, child, path+key+"."); err != nil {
			return err
		}
	}
	return nil
}

func hasFlag(n *kong.Node, key string) bool {
	for _, f := range n.Flags {
		if f.Name == dashed(key) {
			return true
		}
	}
	return false
}

// dashed lets a key be written data_dir too.
func dashed(key string) string { return strings.ReplaceAll(key, "_", "-") }

// Resolve gives the file's value for a flag.
func (c yamlConfig) Resolve(_ *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	for _, env := range flag.Envs {
		if _, set := os.LookupEnv(env); set {
			return nil, nil
		}
	}
	section := map[string]any(c)
	for n := range lineage(parent.Node()) {
		sub, ok := section[n].(map[string]any)
		if !ok {
			return nil, nil
		}
		section = sub
	}
	for key, v := range section {
		if dashed(key) == flag.Name {
			if list, ok := v.([]any); ok {
				v = joined(list)
			}
			return v, nil
		}
	}
	return nil, nil
}

// lineage yields the names of the commands above and at n, the outermost first.
func lineage(n *kong.Node) func(yield func(string) bool) {
	var names []string
	for ; n != nil && n.Parent != nil; n = n.Parent {
		names = append([]string{n.Name}, names...)
	}
	return func(yield func(string) bool) {
		for _, name := range names {
			if !yield(name) {
				return
			}
		}
	}
}

func joined(list []any) string {
	s := make([]string, len(list))
	for i, v := range list {
		s[i] = fmt.Sprint(v)
	}
	return strings.Join(s, ",")
}
