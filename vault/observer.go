package vault

import (
	"time"

	"kong-vault-auth/cache"
)

// observer tells operators what the cache finds out about the store. An outage
// is one line when it begins and one when it ends.
func (l *live) observer() cache.Observer {
	return cache.Observer{
		OutageBegan: func(err error, lastSuccess, heldUntil time.Time) {
			last := "never"
			if !lastSuccess.IsZero() {
				last = time.Since(lastSuccess).Round(time.Second).String() + " ago"
			}
			l.log.Warn("the secret store can't answer; cached credentials are still honoured, others are answered 503",
				"reason", reasonOf(err), "err", err, "last_success", last, "held_until", heldUntil.UTC().Format(time.RFC3339))
		},
		OutageEnded: func(lasted time.Duration) {
			l.log.Warn("the secret store answers again", "reason", "recovered", "lasted", lasted.Round(time.Second).String())
		},
		KeyFailed: func(err error) {
			l.log.Warn("a cached credential could not be read again, though others may be; it is honoured for the time being",
				"reason", reasonOf(err), "err", err)
		},
		DropsHeld: func(would, cached int) {
			l.log.Error("the secret store denies more than half of the cached credentials; none is dropped until each was asked for again. "+
				"Was the mount, the path or the policy changed?", "reason", "mass_denial", "count", would, "cached", cached)
		},
		DropsResolved: func() {
			l.log.Warn("each credential that the secret store denied was asked for again; those it denied twice are gone", "reason", "mass_denial_resolved")
		},
		Panicked: func(p *cache.PanicError) {
			l.log.Error("a lookup panicked; please report this", "reason", "panic", "err", p, "stack", string(p.Stack))
		},
	}
}
