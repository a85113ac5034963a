package llamacpp

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// machineMemory is what programs on this machine may use and what is left of it, in bytes, within the
// limits of this process's cgroups. Files in the page cache count as free, a mapped model's too: the
// kernel takes that memory back when it is needed. ok is false where the system does not tell; ggml says
// of a CPU that all of its memory is free.
func machineMemory() (free, total uint64, ok bool) { return memoryIn(os.DirFS("/")) }

func memoryIn(root fs.FS) (free, total uint64, ok bool) {
	info, _ := fs.ReadFile(root, "proc/meminfo")
	for line := range strings.Lines(string(info)) {
		name, rest, _ := strings.Cut(line, ":")
		kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 54)
		switch {
		case err != nil:
		case name == "MemTotal":
			total = kib << 10
		case name == "MemAvailable":
			free, ok = kib<<10, true
		}
	}
	groups, _ := fs.ReadFile(root, "proc/self/cgroup")
	for line := range strings.Lines(string(groups)) {
		g, known := memoryGroup(strings.TrimSpace(line))
		for dir := g.dir; known && strings.HasPrefix(dir, g.top); dir = path.Dir(dir) { // a parent's limit holds too
			if left, limit, is := g.left(root, dir); is {
				free, total = min(free, left), min(total, limit)
			}
		}
	}
	return min(free, total), total, ok && total > 0
}

// cgroup is where a cgroup's memory numbers are.
type cgroup struct {
	top, dir           string
	limit, used, cache string // files, and the key of what is page cache in memory.stat
}

// memoryGroup reads a line of /proc/self/cgroup, as in cgroups(7), of version 2 or of the memory
// controller of version 1.
func memoryGroup(line string) (cgroup, bool) {
	id, rest, _ := strings.Cut(line, ":")
	controllers, dir, ok := strings.Cut(rest, ":")
	g := cgroup{top: "sys/fs/cgroup", limit: "memory.max", used: "memory.current", cache: "inactive_file"}
	switch {
	case !ok:
		return g, false
	case id == "0" && controllers == "":
	case controllers == "memory":
		g = cgroup{top: "sys/fs/cgroup/memory", limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes", cache: "total_inactive_file"}
	default:
		return g, false
	}
	g.dir = path.Join(g.top, path.Clean("/"+dir))
	return g, true
}

// left is what the cgroup may still take of its limit; is is false if it has none.
func (g cgroup) left(root fs.FS, dir string) (left, limit uint64, is bool) {
	number := func(name string) (uint64, bool) {
		b, err := fs.ReadFile(root, path.Join(dir, name))
		if err != nil {
			return 0, false
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
		return n, err == nil // "max" is no limit
	}
	limit, is = number(g.limit)
	used, known := number(g.used)
	if !is || !known {
		return 0, 0, false
	}
	stat, _ := fs.ReadFile(root, path.Join(dir, "memory.stat"))
	for line := range strings.Lines(string(stat)) {
		if name, n, _ := strings.Cut(strings.TrimSpace(line), " "); name == g.cache {
			cached, _ := strconv.ParseUint(n, 10, 64)
			used -= min(used, cached)
		}
	}
	return limit - min(limit, used), limit, true
}
