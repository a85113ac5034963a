package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	tokenService = "registry.test"
	tokenIssuer  = "tokens.test"
	tokenLife    = 5 * time.Minute
)

// Tokens is a token server as the OCI registries' token authentication has it: who has no account gets a
// token to pull what is public.
type Tokens struct {
	// URL is the address where tokens are had.
	URL string

	key      *ecdsa.PrivateKey
	keyFile  string
	public   string
	requests atomic.Int64
	issued   atomic.Pointer[string]
}

// StartTokens runs a token server until the test ends. Repositories whose name starts with public may be
// pulled by anybody, for the others it answers 401.
func StartTokens(t testing.TB, public string) *Tokens {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &Tokens{key: key, keyFile: filepath.Join(t.TempDir(), "keys.json"), public: public}
	point, err := key.PublicKey.Bytes() // 4, then x and y of 32 bytes each
	if err != nil {
		t.Fatal(err)
	}
	keys := fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","use":"sig","kid":"test","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:]))
	if err := os.WriteFile(s.keyFile, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL + "/token"
	return s
}

// Requests is how many tokens were asked for.
func (s *Tokens) Requests() int { return int(s.requests.Load()) }

// Last is the token that was given last, "" before the first.
func (s *Tokens) Last() string {
	if p := s.issued.Load(); p != nil {
		return *p
	}
	return ""
}

// ServeHTTP answers a request for a token.
func (s *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	name, found := strings.CutSuffix(strings.TrimPrefix(r.URL.Query().Get("scope"), "repository:"), ":pull")
	if !found || r.URL.Query().Get("service") != tokenService || !strings.HasPrefix(name, s.public) {
		http.Error(w, `{"details":"unauthorized"}`, http.StatusUnauthorized)
		return
	}
	token := s.issue(name, "pull")
	s.issued.Store(&token)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": int(tokenLife.Seconds())})
}

// issue makes a JSON web token that the registry accepts.
func (s *Tokens) issue(name string, actions ...string) string {
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"iss": tokenIssuer, "aud": tokenService, "sub": "", "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(tokenLife).Unix(),
		"access": []any{map[string]any{"type": "repository", "name": name, "actions": actions}},
	})
	if err != nil {
		panic(err) // strings and numbers alone
	}
	signed := b64([]byte(`{"alg":"ES256","typ":"JWT","kid":"test"}`)) + "." + b64(claims)
	sum := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	if err != nil {
		panic(err) // the key is a good one
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return signed + "." + b64(signature)
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
