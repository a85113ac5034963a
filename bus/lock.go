package bus

import (
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	"github.com/rbee-project/rbee/messages"
)

// LockRole makes the caller the only process that runs role on dataDir: the lock is held until
// release, or until the process ends however it does. Different roles share the folder.
func LockRole(dataDir, role string) (release func(), err error) {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return nil, messages.Errorf(messages.CodeInternal, role, "cannot make the data dir: %w", err).
			WithHint("choose another with --data-dir or RBEE_DATA_DIR")
	}
	l := flock.New(filepath.Join(dataDir, role+".lock"), flock.SetPermissions(0o600))
	ok, err := l.TryLock()
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, role, "cannot lock %s: %w", l.Path(), err)
	}
	if !ok {
		return nil, messages.Errorf(messages.CodeConflict, role, "a %s already runs on %s", role, dataDir).
			WithHint("stop it first, or give this one another --data-dir")
	}
	return func() { _ = l.Unlock() }, nil
}
