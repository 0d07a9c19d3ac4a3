package vault

import (
	"sync"
	"time"
)

// recently is for how long having read a secret shows that the login may read.
const recently = 60 * time.Second

// RecentReads remembers the last two secrets that a login has read: enough to
// know of any name whether another one was read lately. A store that refuses
// one name while it lets another be read means that name; one that refuses
// every name means the login. The zero value is ready; it is safe for
// concurrent use.
type RecentReads struct {
	mu           sync.Mutex
	last, before secretRead
}

type secretRead struct {
	name string
	at   time.Time
}

// Note remembers that a secret was read.
func (r *RecentReads) Note(name string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.name != name {
		r.before = r.last
	}
	r.last = secretRead{name, now}
}

// Forget drops what is known of a secret that may no longer be read: it says
// nothing about others any more.
func (r *RecentReads) Forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.name == name {
		r.last = r.before
		r.before = secretRead{}
	}
	if r.before.name == name {
		r.before = secretRead{}
	}
}

// Another reports whether a secret of another name was read in the last minute.
func (r *RecentReads) Another(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	other := r.last
	if other.name == name {
		other = r.before
	}
	return other.name != "" && now.Sub(other.at) <= recently
}
