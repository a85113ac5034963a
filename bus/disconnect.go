package bus

import (
	"encoding/json"

	"github.com/rbee-project/rbee/messages"
)

// ParseDisconnect reads the server's event on [messages.DisconnectSubject]: whose connection has ended,
// and why in the server's words. Who it was is read from the credentials that the server had checked;
// the connection's own name, which a client may choose, says nothing. An end that the server itself brought
// about is ours to wait out: for it, and for what is no such event, ok is false.
func ParseDisconnect(data []byte) (who messages.Caller, reason string, ok bool) {
	var e struct {
		Client struct {
			JWT string `json:"jwt"`
		} `json:"client"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(data, &e) != nil {
		return "", "", false
	}
	switch e.Reason {
	case "Authentication Expired", "Server Shutdown", "Credentials Revoked":
		return "", "", false
	}
	c := &Credentials{}
	if c.Renew(e.Client.JWT) != nil || !messages.ValidID(c.Name) {
		return "", "", false
	}
	return c.Role.Caller(c.Name), e.Reason, true
}
