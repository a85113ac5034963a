package ollama

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rbee-project/rbee/messages"
	"github.com/rbee-project/rbee/services/hive/catalog/vendor"
)

const (
	maxChallenge  = 4 << 10  // bytes of a WWW-Authenticate
	maxTokenReply = 64 << 10 // bytes
	maxToken      = 16 << 10 // bytes
	maxTokens     = 256      // repositories whose tokens are kept
	tokenLife     = time.Minute
	maxTokenLife  = time.Hour
	tokenMargin   = 5 * time.Second // a token is not used so shortly before its end
)

// tokenKey is whom a token is for. It is sent to nobody else.
type tokenKey struct{ registry, repository string }

// tokens are kept in memory only. The zero value is ready.
type tokens struct {
	mu   sync.Mutex
	kept map[tokenKey]keptToken
}

type keptToken struct {
	token string
	until time.Time
}

// get is the token for key, "" if there is none that still counts.
func (t *tokens) get(key tokenKey) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if k, ok := t.kept[key]; ok && time.Now().Before(k.until) {
		return k.token
	}
	return ""
}

func (t *tokens) put(key tokenKey, token string, life time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.kept) >= maxTokens || t.kept == nil {
		t.kept = map[tokenKey]keptToken{}
	}
	t.kept[key] = keptToken{token, time.Now().Add(life - tokenMargin)}
}

// challenge is what a registry says of where tokens are (RFC 6750, 3; the OCI registries' "token
// authentication specification").
type challenge struct{ realm, service, scope string }

var challengePart = regexp.MustCompile(`([A-Za-z_]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))`)

// parseChallenge finds the first Bearer challenge that names a realm.
func parseChallenge(headers []string) (challenge, bool) {
	for _, h := range headers {
		scheme, rest, ok := strings.Cut(strings.TrimSpace(h), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") || len(h) > maxChallenge {
			continue
		}
		var c challenge
		for _, m := range challengePart.FindAllStringSubmatch(rest, 16) {
			value := m[3]
			if value == "" {
				value = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(m[2])
			}
			switch strings.ToLower(m[1]) {
			case "realm":
				c.realm = value
			case "service":
				c.service = value
			case "scope":
				c.scope = value
			}
		}
		if c.realm != "" {
			return c, true
		}
	}
	return challenge{}, false
}

// address is where the token is had. A registry elsewhere cannot have this machine's own ports asked.
func (c challenge) address(registry *url.URL) (*url.URL, error) {
	u, err := url.Parse(c.realm)
	if err != nil || u.Hostname() == "" || u.User != nil || !safe(u) || loopback(u.Host) && !loopback(registry.Host) {
		return nil, messages.Errorf(messages.CodeDenied, op, "%s wants a token from an address that is not asked", registry.Host).
			WithHint("a registry's tokens come by https, and only those of a registry on this machine from this machine")
	}
	q := u.Query()
	if c.service != "" {
		q.Set("service", c.service)
	}
	for scope := range strings.FieldsSeq(c.scope) {
		q.Add("scope", scope)
	}
	u.RawQuery, u.Fragment = q.Encode(), ""
	return u, nil
}

var tokenRule = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`)

// newToken gets a token for key, without an account, after the registry answered refusal.
func (v *Vendor) newToken(ctx context.Context, registry *url.URL, key tokenKey, refusal *vendor.StatusError) (string, error) {
	c, ok := parseChallenge(refusal.Header.Values("WWW-Authenticate"))
	if !ok {
		return "", refusal
	}
	if c.scope == "" {
		c.scope = "repository:" + key.repository + ":pull"
	}
	u, err := c.address(registry)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, v.limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	data, err := v.read(req, maxTokenReply)
	if e, ok := errors.AsType[*vendor.StatusError](err); ok && !vendor.Temporary(e) {
		return "", messages.Errorf(messages.CodeDenied, op, "%s gives nothing of %s without an account: %w", registry.Host, key.repository, e).
			WithHint("%s", accountHint)
	}
	if err != nil {
		return "", err
	}
	var reply struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds; a minute if it is not there
	}
	if err := json.Unmarshal(data, &reply); err != nil {
		return "", errors.New("what " + u.Host + " gave is no token") // err would show what came
	}
	token := reply.Token
	if token == "" {
		token = reply.AccessToken
	}
	if len(token) > maxToken || !tokenRule.MatchString(token) {
		return "", errors.New("what " + u.Host + " gave is no token")
	}
	life := tokenLife
	if reply.ExpiresIn > 0 {
		life = time.Duration(min(reply.ExpiresIn, int64(maxTokenLife/time.Second))) * time.Second
	}
	v.tokens.put(key, token, life)
	return token, nil
}
