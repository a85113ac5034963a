package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"
	"github.com/rbee-project/rbee/messages"
)

// WorkerTTL is how long a worker's credentials hold; it renews them after RenewAfter.
const (
	WorkerTTL  = 7 * 24 * time.Hour
	RenewAfter = 24 * time.Hour
)

// Realm holds the keys that make credentials: the operator, the system account, the account RBEE
// and one scoped signing key for each role. Whoever has it can be anybody. It is safe for
// concurrent use.
type Realm struct {
	operator, system, account nkeys.KeyPair
	signers                   map[Role]nkeys.KeyPair
}

// OpenRealm reads the keys in dir, and makes those that are missing, 0600 in a 0700 folder.
func OpenRealm(dir string) (*Realm, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of keys: %w", err)
	}
	r := &Realm{signers: map[Role]nkeys.KeyPair{}}
	var err error
	load := func(name string, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
		if err != nil {
			return nil
		}
		var kp nkeys.KeyPair
		kp, err = loadKey(filepath.Join(dir, name+".nk"), create)
		return kp
	}
	r.operator = load("operator", nkeys.CreateOperator)
	r.system = load("system", nkeys.CreateAccount)
	r.account = load("account", nkeys.CreateAccount)
	for _, role := range Roles() {
		r.signers[role] = load("role-"+string(role), nkeys.CreateAccount)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// loadKey reads a seed, or makes one. Two processes that start at once agree: the file appears
// whole by a link that fails if it is there, and the loser reads the winner's.
func loadKey(path string, create func() (nkeys.KeyPair, error)) (nkeys.KeyPair, error) {
	seed, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeKey(path, create); err != nil {
			return nil, fmt.Errorf("make key %s: %w", path, err)
		}
		seed, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	kp, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, "keys", "%s is not a key: %w", path, err).
			WithHint("restore it from a backup, or remove the whole folder to start with new keys")
	}
	return kp, nil
}

func makeKey(path string, create func() (nkeys.KeyPair, error)) error {
	kp, err := create()
	if err != nil {
		return err
	}
	seed, err := kp.Seed()
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(seed); err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Mint signs publicKey ("U…") as name in role. ttl 0 means for ever.
func (r *Realm) Mint(role Role, name, publicKey string, ttl time.Duration) (token string, expires time.Time, err error) {
	if err := messages.CheckID("name", name); err != nil {
		return "", expires, err
	}
	signer, ok := r.signers[role]
	if !ok {
		return "", expires, messages.Errorf(messages.CodeBadRequest, "creds", "unknown role %q", role)
	}
	uc := jwt.NewUserClaims(publicKey)
	uc.Name = name
	uc.IssuerAccount = pub(r.account)
	uc.SetScoped(true)
	uc.Tags.Add("role:" + string(role))
	if ttl > 0 {
		expires = time.Now().Add(ttl)
		uc.Expires = expires.Unix()
	}
	token, err = uc.Encode(signer)
	if err != nil {
		return "", expires, messages.Errorf(messages.CodeBadRequest, "creds", "sign %q: %w", publicKey, err)
	}
	return token, expires, nil
}

// Creds makes a key and its credentials file for name in role.
func (r *Realm) Creds(role Role, name string, ttl time.Duration) ([]byte, error) {
	kp, err := nkeys.CreateUser()
	if err != nil {
		return nil, err
	}
	token, _, err := r.Mint(role, name, pub(kp), ttl)
	if err != nil {
		return nil, err
	}
	seed, err := kp.Seed()
	if err != nil {
		return nil, err
	}
	return jwt.FormatUserConfig(token, seed)
}

// ServerConfig is the part of a nats-server's configuration that makes it know this realm: embedded
// or external, it is the same text. disconnects has the server tell the queen of connections that end.
func (r *Realm) ServerConfig(disconnects bool) (string, error) {
	oc := jwt.NewOperatorClaims(pub(r.operator))
	oc.Name, oc.SystemAccount = "rbee", pub(r.system)
	sc := jwt.NewAccountClaims(pub(r.system))
	sc.Name = "SYS"
	sc.Exports.Add(&jwt.Export{Name: "account-events", Subject: "$SYS.ACCOUNT.*.>", Type: jwt.Stream, AccountTokenPosition: 3})
	ac := jwt.NewAccountClaims(pub(r.account))
	ac.Name = "RBEE"
	ac.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1}
	if disconnects {
		ac.Imports.Add(&jwt.Import{Name: "disconnects", Account: pub(r.system), Type: jwt.Stream,
			Subject:      jwt.Subject("$SYS.ACCOUNT." + pub(r.account) + ".DISCONNECT"),
			LocalSubject: messages.DisconnectSubject})
	}
	for _, role := range Roles() {
		scope := jwt.NewUserScope()
		scope.Key, scope.Role, scope.Template.Permissions = pub(r.signers[role]), string(role), permissions(role)
		ac.SigningKeys.AddScopedSigner(scope)
	}
	o, err1 := oc.Encode(r.operator)
	s, err2 := sc.Encode(r.operator)
	a, err3 := ac.Encode(r.operator)
	if err := errors.Join(err1, err2, err3); err != nil {
		return "", fmt.Errorf("encode accounts: %w", err)
	}
	return fmt.Sprintf("operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
		o, pub(r.system), pub(r.system), s, pub(r.account), a), nil
}

func pub(k nkeys.KeyPair) string {
	p, _ := k.PublicKey() // a pair made from a seed always has one
	return p
}
