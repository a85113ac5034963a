package registry

import (
	"cmp"
	"slices"
	"time"

	"github.com/rbee-project/rbee/messages"
)

type hive struct {
	info   messages.HiveInfo
	heard  time.Time
	stored time.Time
	gone   string    // why the server says that its connection ended, or ""
	goneAt time.Time // when
}

// hiveBack is how long a hive whose connection ended may take to beat again: it beats at once when it
// has reconnected.
const hiveBack = 5 * time.Second

// HiveBeat takes a hive's inventory. A hive that is new, was restarted or was away has watched none of
// its workers meanwhile, so each is to be watched again.
func (t *Table) HiveBeat(b *messages.HiveBeat, now time.Time) []Change {
	h := t.hives[b.Hive.ID]
	c := Change{Hive: b.Hive.ID}
	switch {
	case h == nil:
		h = &hive{}
		t.hives[b.Hive.ID] = h
		c.Kind = HiveUp
	case h.info.Incarnation != b.Hive.Incarnation:
		c.Kind, c.Cause = HiveUp, "it was restarted"
	case h.gone != "":
		c.Kind, c.Cause = HiveUp, "it beats again"
	}
	old := h.info
	h.info, h.heard, h.gone = b.Hive, now, ""
	if c.Kind != "" || !slices.Equal(old.Models, b.Hive.Models) || !slices.Equal(old.Engines, b.Hive.Engines) || now.Sub(h.stored) >= restore {
		h.stored, c.Inventory = now, &b.Hive
	}
	out := []Change{c}
	if c.Kind == "" {
		return out
	}
	for _, w := range t.workers {
		if w.info.Hive == b.Hive.ID {
			out = append(out, Change{Worker: w.view(), Watch: true})
		}
	}
	return out
}

// HiveDisconnected takes the server's word that the hive's connection has ended.
func (t *Table) HiveDisconnected(id messages.HiveID, reason string, now time.Time) []Change {
	h := t.hives[id]
	if h == nil || h.gone != "" {
		return nil
	}
	h.gone, h.goneAt = "its connection ended: "+reason, now
	return []Change{{Kind: HiveSuspect, Hive: id, Cause: h.gone}}
}

func (t *Table) tickHives(now time.Time) []Change {
	var out []Change
	for id, h := range t.hives {
		silent := now.Sub(h.heard)
		var cause string
		switch {
		case h.gone != "" && now.Sub(h.goneAt) >= hiveBack:
			cause = h.gone + ", and it did not come back"
		case silent >= messages.LostAfter && t.mass == "":
			cause = "silent for " + silent.Round(time.Second).String()
		default:
			continue
		}
		delete(t.hives, id)
		out = append(out, Change{Kind: HiveLost, Hive: id, Cause: cause})
	}
	return out
}

// Hives is every hive, sorted by id.
func (t *Table) Hives() []messages.HiveInfo { return t.hivesThat(func(*hive) bool { return true }) }

// HivesHere are those whose connection stands, as far as we know.
func (t *Table) HivesHere() []messages.HiveInfo {
	return t.hivesThat(func(h *hive) bool { return h.gone == "" })
}

func (t *Table) hivesThat(ok func(*hive) bool) []messages.HiveInfo {
	out := make([]messages.HiveInfo, 0, len(t.hives))
	for _, h := range t.hives {
		if ok(h) {
			out = append(out, h.info)
		}
	}
	slices.SortFunc(out, func(a, b messages.HiveInfo) int { return cmp.Compare(a.ID, b.ID) })
	return out
}
