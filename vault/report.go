package vault

import (
	"errors"
	"hash/maphash"
	"strings"
	"sync"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// maxReported limits how many reports are remembered. At the limit all are forgotten, and
// may be logged once more.
const maxReported = 100_000

// reported remembers the last report about each thing, such as a credential's record, so
// that it is logged once. The zero value is ready to use, and safe for concurrent use.
type reported struct {
	mu     sync.Mutex
	byHash map[uint64]uint64 // the hash of an id to the hash of its report, to save memory
}

var reportSeed = maphash.MakeSeed()

// first reports whether a report differs from the last one about id, and remembers it.
// An empty report means that there is no problem: it is never the first, and the next
// problem is.
func (r *reported) first(id, report string) bool {
	key, value := maphash.String(reportSeed, id), maphash.String(reportSeed, report)
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.byHash[key]
	switch {
	case report == "":
		delete(r.byHash, key)
		return false
	case known && last == value:
		return false
	case r.byHash == nil || len(r.byHash) >= maxReported:
		r.byHash = map[uint64]uint64{}
	}
	r.byHash[key] = value
	return true
}

// observer logs what the cache notices about the store. An outage is logged when it begins
// and when it ends.
func (cs *credentialStore) observer() cache.Observer {
	return cache.Observer{
		OutageBegan: func(err error, lastSuccess, heldUntil time.Time) {
			last := "never"
			if !lastSuccess.IsZero() {
				last = time.Since(lastSuccess).Round(time.Second).String() + " ago"
			}
			cs.log.Warn("the secret store can't answer; cached credentials are still honoured, others are answered 503",
				"reason", reasonOf(err), "err", err, "last_success", last, "held_until", heldUntil.UTC().Format(time.RFC3339))
		},
		OutageEnded: func(lasted time.Duration) {
			cs.log.Warn("the secret store answers again", "reason", "recovered", "lasted", lasted.Round(time.Second).String())
		},
		KeyFailed: func(err error) {
			cs.log.Warn("a cached credential could not be read again, though others may be; it is honoured for the time being",
				"reason", reasonOf(err), "err", err)
		},
		DropsHeld: func(would, cached int) {
			cs.log.Error("the secret store denies more than half of the cached credentials; none is dropped before a second lookup. "+
				"Was the mount, the path or the policy changed?", "reason", "mass_denial", "count", would, "cached", cached)
		},
		DropsResolved: func() {
			cs.log.Warn("each credential that the secret store denied was looked up again; those that it denied twice are dropped", "reason", "mass_denial_resolved")
		},
		Panicked: func(p *cache.PanicError) {
			cs.log.Error("a lookup panicked; please report this", "reason", "panic", "err", p, "stack", string(p.Stack))
		},
	}
}

// reportUnusable logs once that a record can't be used.
func (cs *credentialStore) reportUnusable(accessToken string, err error) {
	var absent *secretstore.Absent
	if !errors.As(err, &absent) || absent.Reason != secretstore.ReasonUnusable {
		return
	}
	id := credential.ID(cs.identity, accessToken)
	if cs.reported.first(id, absent.Error()) {
		cs.log.Error("a credential's record can't be used; the credential is refused until the record is fixed",
			"reason", string(secretstore.ReasonUnusable), "credential", credential.Fingerprint(id), "err", absent.Err)
	}
}

// reportProblems logs once that parts of a usable record have no effect.
func (cs *credentialStore) reportProblems(accessToken string, problems []credential.Problem) {
	lines := make([]string, len(problems))
	for i, p := range problems {
		lines[i] = p.String()
	}
	report := strings.Join(lines, "; ")
	id := credential.ID(cs.identity, accessToken)
	if cs.reported.first(id, report) {
		cs.log.Warn("a part of a credential's record has no effect",
			"reason", "record", "credential", credential.Fingerprint(id), "err", report)
	}
}
