package queen

import (
	"cmp"
	"slices"

	"github.com/rbee-project/rbee/messages"
)

// chooseHive takes the named hive, else one that has the model, else the one with most free memory.
func (q *Queen) chooseHive(name messages.HiveID, model string) (messages.HiveInfo, error) {
	return q.choose(messages.OpSpawn, name, func(a, b *messages.HiveInfo) int {
		return cmp.Or(cmp.Compare(hasOne(a, model), hasOne(b, model)), cmp.Compare(a.MemoryFreeBytes, b.MemoryFreeBytes), cmp.Compare(b.ID, a.ID))
	})
}

// choose is the named hive, or the greatest of those that are here; op is what needs it.
func (q *Queen) choose(op string, name messages.HiveID, compare func(a, b *messages.HiveInfo) int) (messages.HiveInfo, error) {
	hives := q.registry.HivesHere()
	if name != "" {
		i := slices.IndexFunc(hives, func(h messages.HiveInfo) bool { return h.ID == name })
		switch {
		case i >= 0:
			return hives[i], nil
		case q.knowsHive(name):
			return messages.HiveInfo{}, messages.Errorf(messages.CodeUnavailable, op, "hive %s has lost its connection", name).
				WithHint("rbee events --since 5m")
		}
		if len(hives) > 0 {
			return messages.HiveInfo{}, messages.Errorf(messages.CodeNotFound, op, "no hive %q", name).WithHint("rbee hive list")
		}
	}
	if len(hives) == 0 {
		return messages.HiveInfo{}, messages.Errorf(messages.CodeUnavailable, op, "no hive is connected").
			WithHint("start one: rbee up, or rbee-hive on the machine that shall run models")
	}
	return slices.MaxFunc(hives, func(a, b messages.HiveInfo) int { return compare(&a, &b) }), nil
}

// chooseDisk is the named hive, else one that has the model, else the one with most free disk.
func (q *Queen) chooseDisk(op string, name messages.HiveID, model string) (messages.HiveInfo, error) {
	return q.choose(op, name, func(a, b *messages.HiveInfo) int {
		return cmp.Or(cmp.Compare(hasOne(a, model), hasOne(b, model)), cmp.Compare(a.DiskFreeBytes, b.DiskFreeBytes), cmp.Compare(b.ID, a.ID))
	})
}

func hasOne(h *messages.HiveInfo, model string) int {
	if _, ok := has(h, model); ok {
		return 1
	}
	return 0
}
