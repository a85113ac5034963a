package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rbee-project/rbee/bus"
	"github.com/rbee-project/rbee/messages"
)

// natsContext is a context of the nats CLI, as it stores them.
type natsContext struct {
	Description string `json:"description"`
	URL         string `json:"url"`
	Creds       string `json:"creds"`
	InboxPrefix string `json:"inbox_prefix"`
}

// ourDescription marks the contexts that are ours to replace.
const ourDescription = "rbee: written by rbee up"

// writeContext writes the nats context of a role: "rbee" for admin, "rbee-observer". It replaces
// only its own and selects none. Without inbox_prefix `nats req` is denied.
func writeContext(role bus.Role, url, creds string) error {
	name := "rbee"
	if role != bus.RoleAdmin {
		name += "-" + string(role)
	}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return err
		}
		dir = filepath.Join(home, ".config")
	}
	path := filepath.Join(dir, "nats", "context", name+".json")
	if old, err := os.ReadFile(path); err == nil {
		var c natsContext
		if json.Unmarshal(old, &c) != nil || c.Description != ourDescription {
			return fmt.Errorf("%s is not ours; it stays", path)
		}
	}
	data, err := json.MarshalIndent(natsContext{Description: ourDescription, URL: url, Creds: creds,
		InboxPrefix: messages.InboxPrefix(string(role), localName)}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
