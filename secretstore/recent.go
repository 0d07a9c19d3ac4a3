package secretstore

import (
	"sync"
	"time"
)

// recently is how long a read proves that the login may read.
const recently = 60 * time.Second

// RecentReads remembers the last two secrets that a login has read, so that for any name
// there may be another one that was read recently. If the store refuses a name but still
// permits the other, the refusal concerns that name; if it refuses both, it concerns the
// login, which may have lost its rights in the meantime. The zero value is ready to use,
// and safe for concurrent use.
type RecentReads struct {
	mu           sync.Mutex
	last, before secretRead
}

type secretRead struct {
	name string
	at   time.Time
}

// Note records that a secret was read.
func (r *RecentReads) Note(name string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last.name != name {
		r.before = r.last
	}
	r.last = secretRead{name, now}
}

// Forget drops a secret that the login may no longer read.
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

// MayReadAnother reports whether a login that was refused a name may still read another
// one that it has read in the last minute. may reads that one again; its error means that
// it could not find out, and is returned. Names that may no longer be read are forgotten.
func (r *RecentReads) MayReadAnother(name string, may func(other string) (bool, error)) (bool, error) {
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

// another returns the name of another secret that was read in the last minute; ok is false
// if there is none.
func (r *RecentReads) another(name string, now time.Time) (other string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	read := r.last
	if read.name == name {
		read = r.before
	}
	return read.name, read.name != "" && now.Sub(read.at) <= recently
}
