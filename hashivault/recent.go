package hashivault

import (
	"sync"
	"time"
)

// recently is how long a read vouches for the login that made it.
const recently = 60 * time.Second

// recentReads remembers the last two names a session has read, which is enough
// to know of any name whether another one was read lately.
type recentReads struct {
	mu           sync.Mutex
	last, before read
}

type read struct {
	name string
	at   time.Time
}

func (r *recentReads) note(name string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.name != name {
		r.before = r.last
	}
	r.last = read{name, now}
}

func (r *recentReads) anotherThan(name string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	other := r.last
	if other.name == name {
		other = r.before
	}
	return other.name != "" && now.Sub(other.at) <= recently
}
