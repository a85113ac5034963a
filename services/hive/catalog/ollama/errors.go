package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

// status is the one that the registry's answer had, 0 if err is about none or is worded already.
func status(err error) int {
	if _, ok := errors.AsType[*messages.Error](err); ok {
		return 0
	}
	if e, ok := errors.AsType[*vendor.StatusError](err); ok {
		return e.Status
	}
	return 0
}

// failed words what went wrong when what was asked for. nil stays nil.
func (v *Vendor) failed(ctx context.Context, r reference, what string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*messages.Error](err); ok {
		return e
	}
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.Canceled):
		return messages.Errorf(messages.CodeCancelled, op, "asking for %s was cancelled: %w", what, cause)
	case cause != nil:
		return messages.Errorf(messages.CodeTimeout, op, "asking for %s took too long: %w", what, cause)
	}
	if e, ok := errors.AsType[*vendor.StatusError](err); ok {
		return refused(what, e)
	}
	if errors.Is(err, errTooLarge) {
		return v.bad(r, errors.New(what+" is too large"))
	}
	return messages.Errorf(messages.CodeUnavailable, op, "cannot get %s from %s: %w", what, v.host(r), err).
		WithHint("check the network; %s names another registry", RegistryVariable)
}

const accountHint = "rbee pulls public models only: pull it with ollama, then `rbee model import`"

// refused words an answer that is no success.
func refused(what string, e *vendor.StatusError) error {
	fail := func(code messages.Code, text string) *messages.Error {
		return messages.Errorf(code, op, "%s %s: %w%s", what, text, e, registryCode(e.Text))
	}
	switch s := e.Status; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return fail(messages.CodeDenied, "may not be had without an account").
			WithHint("%s", accountHint)
	case s == http.StatusNotFound || s == http.StatusGone:
		return fail(messages.CodeModelUnknown, "is not there").WithHint("it may have been replaced: pull it again by its name")
	case s == http.StatusTooManyRequests:
		err := fail(messages.CodeUnavailable, "is refused for now, too much was asked for")
		if d := vendor.Wait(e); d > 0 {
			return err.WithHint("try again in %s", d.Round(time.Second))
		}
		return err.WithHint("try again in some minutes")
	case s >= 500 || s == http.StatusRequestTimeout || s == http.StatusTooEarly:
		return fail(messages.CodeUnavailable, "cannot be had at the moment").WithHint("the registry has trouble: try again later")
	}
	return fail(messages.CodeBadRequest, "is refused").WithHint("check the reference, and whether %s is an Ollama registry", e.Host)
}

var errorCode = regexp.MustCompile(`^[A-Z][A-Z_]{1,39}$`)

// registryCode is the code in an OCI registry's error, such as " (NAME_INVALID)"; its texts are not shown.
func registryCode(text string) string {
	var body struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal([]byte(text), &body) != nil || len(body.Errors) == 0 || !errorCode.MatchString(body.Errors[0].Code) {
		return ""
	}
	return " (" + body.Errors[0].Code + ")"
}

// unknown words that the registry has no manifest for r: no such model, or no such tag of it.
func (v *Vendor) unknown(ctx context.Context, r reference, cause error) error {
	known := v.tags(ctx, r)
	if ctx.Err() != nil {
		return v.failed(ctx, r, r.public(), ctx.Err())
	}
	said := ""
	if e, ok := errors.AsType[*vendor.StatusError](cause); ok {
		said = registryCode(e.Text)
	}
	where := "https://ollama.com/library shows what there is"
	switch {
	case r.host != "" || v.registry.Host != "registry.ollama.ai":
		where = "check its name and tag"
	case r.namespace == defaultNamespace:
		where = "https://ollama.com/library/" + r.name + "/tags shows its tags, https://ollama.com/library the models"
	}
	if len(known) > 0 && r.digest == "" {
		return messages.Errorf(messages.CodeModelUnknown, op, "%s has no tag %q of %s: %w%s", v.host(r), r.tag, r.source(), cause, said).
			WithHint("its tags are: %s", strings.Join(known, ", "))
	}
	return messages.Errorf(messages.CodeModelUnknown, op, "%s has no model %s: %w%s", v.host(r), r.public(), cause, said).WithHint("%s", where)
}

// bad words that a model was found and cannot be used.
func (v *Vendor) bad(r reference, cause error) error {
	err := messages.Errorf(messages.CodeBadModel, op, "%s of %s cannot be used: %w", r.public(), v.host(r), cause)
	if e, ok := errors.AsType[*unusable](cause); ok {
		return err.WithHint("%s", e.hint)
	}
	return err.WithHint("tell whoever published it, and check %s if it is set", RegistryVariable)
}

// host is who is asked for r.
func (v *Vendor) host(r reference) string {
	if base, err := v.base(r); err == nil {
		return base.Host
	}
	return "the registry"
}

// unusable is a model of a kind that rbee does not run.
type unusable struct{ problem, hint string }

func (e *unusable) Error() string { return e.problem }
