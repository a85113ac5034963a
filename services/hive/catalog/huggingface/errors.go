package huggingface

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// subject is what a request was about.
type subject struct {
	caller   context.Context // its end is the caller's doing
	repo     string
	revision string
	file     string // "" if it was about the repository
	token    secret
	cdn      bool // it went to the CDN
}

// explain makes an error of the hub one that a user can act on. What the server writes is not shown: it may repeat
// the token.
func (v *Vendor) explain(ctx context.Context, err error, s subject) error {
	if _, ok := errors.AsType[*messages.Error](err); ok {
		return err
	}
	if s.caller.Err() != nil {
		return s.caller.Err()
	}
	e, ok := errors.AsType[*vendor.StatusError](err)
	if !ok {
		return v.unreachable(err, s)
	}
	switch {
	case e.Status == http.StatusTooManyRequests:
		return tooOften(e, err, s)
	case e.Status >= 500:
		return messages.Errorf(messages.CodeUnavailable, op, "%w", err).WithHint("the other side is broken or busy: try later; see https://status.huggingface.co")
	case s.cdn && refused(err):
		return messages.Errorf(messages.CodeUnavailable, op, "%s refuses an address that %s has just given out for %s: %w", e.Host, v.env.endpoint.Host, s.file, err).
			WithHint("try again; if it stays so, check this machine's clock and its proxy")
	case s.cdn:
		return messages.Errorf(messages.CodeBadRequest, op, "%s cannot be had: %w", s.file, err).WithHint("try again, or pull the model again")
	}
	return v.declined(ctx, e, err, s)
}

// declined is for the hub's own 4xx. X-Error-Code tells them apart, where there is one.
func (v *Vendor) declined(ctx context.Context, e *vendor.StatusError, err error, s subject) error {
	said := strings.ToLower(e.Header.Get("X-Error-Message") + " " + e.Text)
	switch code := e.Header.Get("X-Error-Code"); {
	case code == "GatedRepo":
		return v.gated(err, s)
	case code == "RevisionNotFound":
		return messages.Errorf(messages.CodeModelUnknown, op, "%s has no branch, tag or commit %s", s.repo, s.revision).
			WithHint("leave out @%s for the newest, or see %s", s.revision, v.page(s.repo))
	case code == "EntryNotFound", code == "" && e.Status == http.StatusNotFound && s.file != "":
		return messages.Errorf(messages.CodeModelUnknown, op, "%s has no file %s at %s", s.repo, s.file, s.revision).
			WithHint("pull the model again: the repository has changed")
	case e.Status == http.StatusUnauthorized && s.token.value != "":
		return messages.Errorf(messages.CodeDenied, op, "%s does not accept the token from %s", e.Host, s.token.source).
			WithHint("make a new one at https://huggingface.co/settings/tokens and put it there; most models need none")
	case strings.Contains(said, "resource is disabled"), e.Status == http.StatusUnavailableForLegalReasons:
		return messages.Errorf(messages.CodeDenied, op, "%s was disabled by HuggingFace", s.repo).WithHint("take another repository")
	case code == "RepoNotFound", e.Status == http.StatusUnauthorized, e.Status == http.StatusNotFound:
		return v.noRepo(ctx, s)
	case e.Status == http.StatusForbidden:
		return messages.Errorf(messages.CodeDenied, op, "%s does not let us have %s: %w", e.Host, s.repo, err).
			WithHint("give the token the right to read it: https://huggingface.co/settings/tokens")
	}
	return messages.Errorf(messages.CodeBadRequest, op, "%w", err).WithHint("check HF_ENDPOINT and the reference")
}

func (v *Vendor) page(repo string) string { return v.address(strings.Split(repo, "/")...) }

func (v *Vendor) gated(err error, s subject) error {
	if s.token.value == "" {
		return messages.Errorf(messages.CodeDenied, op, "%s is gated: its files are for those who have accepted its licence: %w", s.repo, err).
			WithHint("log in and accept it at %s, then set HF_TOKEN to a token from https://huggingface.co/settings/tokens", v.page(s.repo))
	}
	return messages.Errorf(messages.CodeDenied, op, "%s is gated, and the account of the token from %s has no access: %w", s.repo, s.token.source, err).
		WithHint("ask for it at %s with that account; a fine-grained token also needs the right to read gated repositories", v.page(s.repo))
}

func (v *Vendor) noRepo(ctx context.Context, s subject) error {
	e := messages.Errorf(messages.CodeModelUnknown, op, "there is no repository %s at %s", s.repo, v.env.endpoint.Host)
	private := "a private one needs HF_TOKEN"
	if s.token.value != "" {
		private = "or the account of the token from " + s.token.source + " may not see it"
	}
	if near := v.near(ctx, s.repo, s.token); len(near) > 0 {
		return e.WithHint("did you mean %s? %s", prefix+strings.Join(near, " or "+prefix), private)
	}
	return e.WithHint("check the name at https://huggingface.co/models?library=gguf; %s", private)
}

// noModel is for a repository without a GGUF file that is a model.
func (v *Vendor) noModel(ctx context.Context, r reference, c *contents, token secret) error {
	what := ""
	for _, p := range c.other {
		if hasSuffixFold(p, ".safetensors") {
			what = "; it has safetensors, which llama.cpp does not load"
		}
	}
	if len(c.projectors) > 0 {
		what = ", only a projector"
	}
	e := messages.Errorf(messages.CodeModelUnknown, op, "%s has no GGUF file%s", r.Repo, what)
	var near []string
	for _, n := range v.near(ctx, r.Repo, token) {
		if n != r.Repo {
			near = append(near, n)
		}
	}
	if len(near) > 0 {
		return e.WithHint("others have made GGUF files of such: try %s", prefix+strings.Join(near, " or "+prefix))
	}
	_, name, _ := strings.Cut(r.Repo, "/")
	return e.WithHint("look for one: https://huggingface.co/models?library=gguf&search=%s", url.QueryEscape(name))
}

func tooOften(e *vendor.StatusError, err error, s subject) error {
	text := "%s has had too many requests from here"
	args := []any{e.Host}
	if d := vendor.Wait(err); d > 0 {
		text += " and wants to be left alone for %s"
		args = append(args, d)
	}
	hint := "wait; with HF_TOKEN set the limit is higher"
	if s.token.value != "" {
		hint = "wait; the limit is that of the token's account"
	}
	return messages.Errorf(messages.CodeUnavailable, op, text+": %w", append(args, err)...).WithHint("%s", hint)
}

func (v *Vendor) unreachable(err error, s subject) error {
	host := v.env.endpoint.Host
	if s.cdn {
		host = "the host of its files"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return messages.Errorf(messages.CodeUnavailable, op, "%s has not answered in time: %w", host, err).WithHint("try later")
	}
	if !strings.HasPrefix(err.Error(), host+": ") { // as vendor.Do words it
		err = fmt.Errorf("%s: %w", host, err)
	}
	return messages.Errorf(messages.CodeUnavailable, op, "cannot reach %w", err).
		WithHint("check the network and the proxy (HTTPS_PROXY); HF_ENDPOINT may name a mirror; models that are here work without: rbee model list")
}
