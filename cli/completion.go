package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" help:"bash, zsh or fish." enum:"bash,zsh,fish"`
}

// Run prints a script that completes commands and flags: it is made from the grammar itself.
func (c *completionCmd) Run(a *app) error {
	var b strings.Builder
	words := map[string][]string{}
	collect(a.model.Node, "", words)
	switch c.Shell {
	case "fish":
		fish(&b, words)
	case "zsh":
		b.WriteString("(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }\nautoload -U +X bashcompinit && bashcompinit\n")
		fallthrough
	default:
		bash(&b, words)
	}
	_, err := fmt.Fprint(a.stdout, b.String())
	return err
}

// collect lists, for each command path, the words that may follow.
func collect(n *kong.Node, path string, words map[string][]string) {
	for _, f := range n.AllFlags(true) {
		for _, g := range f {
			words[path] = append(words[path], "--"+g.Name)
		}
	}
	for _, child := range n.Children {
		if child.Hidden {
			continue
		}
		words[path] = append(words[path], child.Name)
		collect(child, strings.TrimSpace(path+" "+child.Name), words)
	}
}

func bash(b *strings.Builder, words map[string][]string) {
	b.WriteString("_rbee() {\n  local cur=\"${COMP_WORDS[COMP_CWORD]}\" path=\"\" w\n")
	b.WriteString("  for w in \"${COMP_WORDS[@]:1:$((COMP_CWORD-1))}\"; do case \"$w\" in -*) ;; *) path=\"${path:+$path }$w\" ;; esac; done\n")
	b.WriteString("  case \"$path\" in\n")
	for _, p := range sorted(words) {
		fmt.Fprintf(b, "    %q) COMPREPLY=($(compgen -W %q -- \"$cur\")) ;;\n", p, strings.Join(words[p], " "))
	}
	b.WriteString("    *) ;;\n  esac\n  [ ${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- \"$cur\"))\n}\ncomplete -F _rbee rbee\n")
}

func fish(b *strings.Builder, words map[string][]string) {
	b.WriteString("complete -c rbee\n")
	for _, p := range sorted(words) {
		cond := "__fish_use_subcommand"
		if p != "" {
			cond = "string match -q -- '*" + p + "*' (commandline -pc)"
		}
		fmt.Fprintf(b, "complete -c rbee -n %q -a %q\n", cond, strings.Join(words[p], " "))
	}
}

func sorted(words map[string][]string) []string { return slices.Sorted(maps.Keys(words)) }
