package bus

import (
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"github.com/rbee-project/rbee/messages"
)

// Credentials is who a connection is: a role and a name signed by a [Realm], and the key that
// proves it. It is safe for concurrent use.
type Credentials struct {
	Role Role
	Name string

	key nkeys.KeyPair
	mu  sync.Mutex
	jwt string
}

// ParseCredentials reads the contents of a credentials file.
func ParseCredentials(file []byte) (*Credentials, error) {
	bad := func(err error) error {
		return messages.Errorf(messages.CodeBadRequest, "creds", "not an rbee credentials file: %w", err).
			WithHint("make one with: rbee creds create --role client --name NAME")
	}
	token, err := jwt.ParseDecoratedJWT(file)
	if err != nil {
		return nil, bad(err)
	}
	key, err := jwt.ParseDecoratedUserNKey(file)
	if err != nil {
		return nil, bad(err)
	}
	c := &Credentials{key: key}
	if err := c.Renew(token); err != nil {
		return nil, bad(err)
	}
	return c, nil
}

// ReadCredentials reads a credentials file.
func ReadCredentials(path string) (*Credentials, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, messages.Errorf(messages.CodeBadRequest, "creds", "cannot read the credentials: %w", err)
	}
	return ParseCredentials(file)
}

// Renew replaces the signature. The next connect uses it; the one that stands goes on with the old.
func (c *Credentials) Renew(token string) error {
	uc, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return err
	}
	var role Role
	for _, tag := range uc.Tags {
		if r, ok := strings.CutPrefix(tag, "role:"); ok {
			role = Role(r)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jwt, c.Role, c.Name = token, role, uc.Name
	return nil
}

// PublicKey is the key that the realm signs.
func (c *Credentials) PublicKey() string { return pub(c.key) }

// Expires is when the server cuts the connection; zero for never.
func (c *Credentials) Expires() time.Time {
	uc, err := jwt.DecodeUserClaims(c.token())
	if err != nil || uc.Expires == 0 {
		return time.Time{}
	}
	return time.Unix(uc.Expires, 0)
}

func (c *Credentials) token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.jwt
}

// NewUserKey makes a worker's key: the seed stays on the machine that made it, the public key is
// sent to be signed.
func NewUserKey() (seed []byte, publicKey string, err error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, "", err
	}
	seed, err = kp.Seed()
	return seed, pub(kp), err
}

// FormatCredentials is the contents of a credentials file.
func FormatCredentials(token string, seed []byte) ([]byte, error) {
	return jwt.FormatUserConfig(token, seed)
}
