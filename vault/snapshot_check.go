package vault

import (
	"fmt"
	"maps"
	"slices"
)

// checkSnapshots checks the node's objects against each other: a store has one
// cache, whichever object it is opened for first, and so one snapshot, and no
// two stores can have the same.
func checkSnapshots(objects ...map[string]Definition) error {
	all := map[string]Definition{}
	for _, defined := range objects {
		maps.Copy(all, defined)
	}
	names := slices.Sorted(maps.Keys(all))
	for i, name := range names {
		for _, other := range names[:i] {
			a, b := all[name], all[other]
			same := a.identity() == b.identity() && a.digest(nil) == b.digest(nil)
			switch mine, theirs := a.snapshot(), b.snapshot(); {
			case same && mine != theirs:
				return configError(name, "snapshot_file", fmt.Errorf(
					"it is the same store as %s: give both the same snapshot_file and snapshot_key_file, or neither", other))
			case !same && mine.Path != "" && mine.Path == theirs.Path:
				return configError(name, "snapshot_file", fmt.Errorf("%s, which is another store, has the same: give each its own", other))
			}
		}
	}
	return nil
}
