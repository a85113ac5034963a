package contract

import (
	"maps"
	"slices"
)

// Routes are the methods and paths that are served, sorted.
func Routes() []string { return slices.Sorted(maps.Keys(routes(nil))) }
