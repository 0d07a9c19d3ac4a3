package secretstore

import (
	"sync"
	"time"
)

// recently is for how long having read a secret shows that the login may read.
const recently = 60 * time.Second

// RecentReads remembers the last two secrets that a login has read: enough to
// know of any name another one that was read lately. A store that refuses one
// name while it lets another be read means that name; one that refuses every
// name means the login. Which of the two it is, only reading the other one again
// tells: the login may have lost its rights in between. The zero value is ready;
// it is safe for concurrent use.
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

// Vouch reports whether a login that was refused a name may read another one, of
// those that it has read in the last minute: may reads that again. One that may no
// longer be read is forgotten. An error of may's says why that can't be told, and
// is returned.
func (r *RecentReads) Vouch(name string, may func(other string) (bool, error)) (bool, error) {
	for {
		other, ok := r.another(name, time.Now())
		if !ok {
			return false, nil
		}
		if ok, err := may(other); ok || err != nil {
			return ok, err
		}
		r.Forget(other)
	}
}

// another is the name of another secret, read in the last minute; ok is false if
// there is none.
func (r *RecentReads) another(name string, now time.Time) (other string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	read := r.last
	if read.name == name {
		read = r.before
	}
	return read.name, read.name != "" && now.Sub(read.at) <= recently
}
