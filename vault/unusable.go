package vault

import "sync"

// maxUnusable bounds how many ids are kept. When there are more, what was told
// is told again.
const maxUnusable = 1024

// unusable knows of which credentials operators have been told that their
// records can't be used. The zero value is ready, and safe for concurrent use.
type unusable struct {
	mu   sync.Mutex
	told map[string]struct{}
}

// first reports whether id is new, and keeps it.
func (u *unusable) first(id string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, told := u.told[id]; told {
		return false
	}
	if u.told == nil || len(u.told) >= maxUnusable {
		u.told = map[string]struct{}{}
	}
	u.told[id] = struct{}{}
	return true
}

// forget makes id new again: its record has been mended.
func (u *unusable) forget(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.told, id)
}
