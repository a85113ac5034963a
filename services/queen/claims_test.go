package queen

import (
	"fmt"
	"testing"
	"time"

	"github.com/rbee-project/rbee/messages"
)

// A table of what happens to the claim on one file, second by second.
func TestClaims(t *testing.T) {
	const life = int(messages.LocateLife / time.Second)
	type step struct {
		at   int // seconds
		do   string
		hive messages.HiveID
		want string // the holder afterwards, or what it says
	}
	for name, steps := range map[string][]step{
		"one fetches":                   {{0, "take", "a", "a"}, {0, "take", "b", "a"}, {1, "take", "a", "a"}, {1, "holder", "", "a"}},
		"it is renewed":                 {{0, "take", "a", "a"}, {life - 1, "renew", "a", "true"}, {life + 1, "take", "b", "a"}, {2*life - 2, "holder", "", "a"}, {2*life - 1, "holder", "", ""}},
		"it lapses":                     {{0, "take", "a", "a"}, {life, "holder", "", ""}, {life, "take", "b", "b"}, {life, "renew", "a", "false"}, {life, "take", "a", "b"}},
		"a lapsed one is not renewed":   {{0, "take", "a", "a"}, {life, "renew", "a", "false"}, {life, "holder", "", ""}},
		"another does not renew":        {{0, "take", "a", "a"}, {1, "renew", "b", "false"}, {life, "holder", "", ""}},
		"there is none":                 {{0, "renew", "a", "false"}, {0, "holder", "", ""}, {0, "forget", "a", "false"}},
		"an ended one holds":            {{0, "take", "a", "a"}, {1, "end", "a", "a"}, {2, "take", "b", "a"}, {life, "take", "b", "a"}, {life + 1, "take", "b", "b"}},
		"an ended one is not renewed":   {{0, "take", "a", "a"}, {1, "end", "a", "a"}, {2, "renew", "a", "false"}, {life, "holder", "", "a"}, {life + 1, "holder", "", ""}},
		"an ended one is taken again":   {{0, "take", "a", "a"}, {1, "end", "a", "a"}, {2, "take", "a", "a"}, {3, "forget", "a", "false"}, {3, "renew", "a", "true"}},
		"an ended one is forgotten":     {{0, "take", "a", "a"}, {1, "end", "a", "a"}, {2, "forget", "a", "true"}, {2, "take", "b", "b"}},
		"a living one is not forgotten": {{0, "take", "a", "a"}, {1, "forget", "a", "false"}, {1, "take", "b", "a"}},
		"another's is not forgotten":    {{0, "take", "a", "a"}, {1, "end", "a", "a"}, {2, "forget", "b", "false"}, {2, "holder", "", "a"}},
		"another does not end it":       {{0, "take", "a", "a"}, {1, "end", "b", "a"}, {2, "renew", "a", "true"}},
		"an end that nobody knew of":    {{0, "end", "a", "a"}, {1, "take", "b", "a"}},
		"a late end":                    {{0, "take", "a", "a"}, {life, "take", "b", "b"}, {life, "end", "a", "b"}, {life, "renew", "b", "true"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClaims()
			for i, s := range steps {
				now := time.Unix(1e9, 0).Add(time.Duration(s.at) * time.Second)
				var got string
				switch s.do {
				case "take":
					got = string(c.take("d", s.hive, now))
				case "renew":
					got = fmt.Sprint(c.renew("d", s.hive, now))
				case "forget":
					got = fmt.Sprint(c.forget("d", s.hive))
				case "end":
					c.end("d", s.hive, now)
					got = string(c.holder("d", now))
				default:
					got = string(c.holder("d", now))
				}
				if got != s.want {
					t.Errorf("step %d, %s %s at %d s: %q, want %q", i, s.do, s.hive, s.at, got, s.want)
				}
				if h := c.holder("another", now); h != "" {
					t.Errorf("%s holds another file", h)
				}
			}
		})
	}
}

// Claims are bounded; what has lapsed makes room, and who finds none fetches all the same.
func TestClaimsAreBounded(t *testing.T) {
	c, now := newClaims(), time.Unix(1e9, 0)
	for i := range maxClaims + 5 {
		if got := c.take(fmt.Sprint(i), "a", now); got != "a" {
			t.Fatalf("%q has file %d", got, i)
		}
	}
	c.end("more", "a", now)
	if len(c.byDigest) != maxClaims || !c.renew("0", "a", now) || c.renew(fmt.Sprint(maxClaims), "a", now) {
		t.Errorf("%d are kept", len(c.byDigest))
	}
	later := now.Add(messages.LocateLife)
	if got := c.take("new", "b", later); got != "b" || len(c.byDigest) != 1 || !c.renew("new", "b", later) {
		t.Errorf("%q has it, %d are kept", got, len(c.byDigest))
	}
}
