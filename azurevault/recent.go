package azurevault

import (
	"sync"
	"time"
)

// recently is for how long having read a secret shows that the login may read.
const recently = 60 * time.Second

// recentReads are the last two secrets that were read: enough to know of any
// name whether another one was read lately. The zero value is ready.
type recentReads struct {
	mu           sync.Mutex
	last, before secretRead
}

type secretRead struct {
	name string
	at   time.Time
}

// note keeps that a secret was read.
func (r *recentReads) note(name string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.name != name {
		r.before = r.last
	}
	r.last = secretRead{name, now}
}

// forget drops what is known of a secret that may no longer be read: it says
// nothing about others any more.
func (r *recentReads) forget(name string) {
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

// another reports whether a secret of another name was read recently.
func (r *recentReads) another(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	other := r.last
	if other.name == name {
		other = r.before
	}
	return other.name != "" && now.Sub(other.at) <= recently
}
