package huggingface

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// op is what the errors say was tried.
const op = "huggingface"

// resolveLimit bounds a Resolve, whatever the hub does.
const resolveLimit = 60 * time.Second

// Vendor gets models from the HuggingFace hub.
type Vendor struct {
	env    environment
	client *http.Client // follows redirects
	bare   *http.Client // does not
	links  links
}

var _ vendor.Vendor = (*Vendor)(nil)

// New reads the environment, as the package says, through getenv: [os.Getenv]. It does no I/O; what is wrong with
// the environment, Resolve and Fetch tell.
func New(getenv func(string) string) *Vendor {
	client := vendor.NewClient()
	bare := *client
	bare.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Vendor{env: readEnv(getenv), client: client, bare: &bare, links: links{all: map[string]*link{}}}
}

// Name is "huggingface".
func (v *Vendor) Name() string { return "huggingface" }

// Forms are the references of the package's documentation.
func (v *Vendor) Forms() []string {
	return []string{
		"hf:org/repo",
		"hf:org/repo:Q4_K_M",
		"hf:org/repo/file.gguf",
		"hf:org/repo@revision",
		"https://huggingface.co/org/repo",
	}
}

// Supports takes what begins with hf:, addresses of the hub, and org/repo if it could be a repository's name.
func (v *Vendor) Supports(ref string) bool {
	if _, ok := cutPrefixFold(ref, prefix); ok {
		return true
	}
	if _, ok := v.cutHost(ref); ok {
		return true
	}
	return !strings.HasPrefix(ref, "/") && !strings.HasPrefix(ref, ".") && !strings.HasPrefix(ref, "~") && bare(ref)
}

// Spell is a [vendor.Speller]'s.
func (v *Vendor) Spell(ref string) string {
	r, err := v.parse(ref)
	if err != nil {
		return ref
	}
	return r.String()
}

// Resolve asks the hub's API for the repository's commit and its files and chooses one model of them. See
// [vendor.Vendor].
func (v *Vendor) Resolve(ctx context.Context, ref string) (*vendor.Artifact, error) {
	r, err := v.parse(ref)
	if err != nil {
		return nil, err
	}
	if err := v.ready(); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	token, err := v.env.readToken()
	if err != nil {
		return nil, err
	}
	asked := subject{caller: ctx, repo: r.Repo, revision: r.revision(), token: token}
	i, err := v.info(limited, r, token)
	if err != nil {
		return nil, v.explain(limited, err, asked)
	}
	var notes []string
	if i.Repo != "" && i.Repo != r.Repo {
		if !strings.EqualFold(i.Repo, r.Repo) {
			notes = append(notes, fmt.Sprintf("%s has moved to %s", r.Repo, i.Repo))
		}
		r.Repo, asked.repo = i.Repo, i.Repo
	}
	entries, err := v.tree(limited, r.Repo, i.Commit, token)
	if err != nil {
		return nil, v.explain(limited, err, asked)
	}
	c := sortOut(entries)
	if len(c.models) == 0 {
		return nil, v.noModel(limited, r, &c, token)
	}
	m, chosen, err := c.choose(r)
	if err != nil {
		return nil, err
	}
	a := artifact(r, i, &c, m)
	a.Notes = append(notes, chosen...)
	if i.Gated { // its list of files is for everyone: better to fail now than after a plan
		if _, err := v.link(limited, &a.Files[0], token); err != nil {
			asked.file = a.Files[0].Name
			return nil, v.explain(limited, err, asked)
		}
	}
	return a, nil
}

// maxPublic bounds a model's name over HTTP, in bytes.
const maxPublic = 255

func publicName(repo, short string) string {
	name := repo + ":" + short
	return strings.ToValidUTF8(name[:min(len(name), maxPublic)], "")
}

// ready says what in the environment keeps us from asking.
func (v *Vendor) ready() error {
	if v.env.offline != "" {
		return messages.Errorf(messages.CodeUnavailable, op, "%s is set: %w", v.env.offline, vendor.ErrOffline).
			WithHint("unset %s, or use a model that is already here: rbee model list", v.env.offline)
	}
	return v.env.bad
}

func artifact(r reference, i info, c *contents, m *model) *vendor.Artifact {
	a := &vendor.Artifact{
		Name:          publicName(r.Repo, c.shortName(m)),
		Ref:           reference{Repo: r.Repo, Path: m.parts[0].Path, Revision: i.Commit}.String(),
		License:       i.License,
		Quantization:  m.quant,
		Architecture:  i.Architecture,
		ContextLength: i.ContextLength,
		Revision:      i.Commit,
	}
	add := func(e entry, kind vendor.Kind) {
		a.Files = append(a.Files, vendor.File{
			Name:      e.Path,
			Kind:      kind,
			SizeBytes: e.Size,
			Digest:    e.Digest,
			Source:    reference{Repo: r.Repo, Path: e.Path, Revision: i.Commit}.String(),
		})
	}
	for _, e := range m.parts {
		add(e, vendor.Model)
	}
	for _, e := range c.projectors {
		add(e, vendor.Projector)
	}
	return a
}
