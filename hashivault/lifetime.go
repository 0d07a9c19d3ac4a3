package hashivault

import (
	"errors"
	"time"

	"github.com/hashicorp/vault/api"
)

// lifetime renews one token, and signals when it is about to expire.
type lifetime struct {
	client  *api.Client
	token   string
	lease   time.Duration
	expires time.Time
	watcher *api.LifetimeWatcher
	renewed <-chan *api.RenewOutput
	stopped <-chan error     // the watcher has given up, or renewal no longer helps
	retry   <-chan time.Time // start another watcher
	nearEnd <-chan time.Time // a token that can't be renewed is about to expire
	tries   int
}

// watch begins with a token whose ttl Vault has just reported.
func (l *lifetime) watch(client *api.Client, auth *api.SecretAuth) {
	l.client, l.token = client, auth.ClientToken
	switch l.extend(auth.LeaseDuration); {
	case l.lease <= 0: // it never expires
	case auth.Renewable:
		l.renew()
	default:
		l.nearEnd = time.After(l.lease - l.lease/5)
	}
}

func (l *lifetime) extend(seconds int) {
	l.lease = time.Duration(seconds) * time.Second
	if l.lease > 0 {
		l.expires = time.Now().Add(l.lease)
	}
}

// renew starts a watcher, which renews immediately and then before each expiry. It
// stops at the first error: by default it would retry after ten seconds, too late
// for tokens with a short ttl, and without any pause once its backoff has run out.
func (l *lifetime) renew() {
	l.retry = nil
	w, err := l.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{
		Secret: &api.Secret{Auth: &api.SecretAuth{
			ClientToken:   l.token,
			LeaseDuration: max(1, int(time.Until(l.expires)/time.Second)),
			Renewable:     true,
		}},
		RenewBehavior: api.RenewBehaviorErrorOnErrors,
	})
	if err != nil { // only for missing input, and none is missing
		return
	}
	l.watcher, l.renewed, l.stopped = w, w.RenewCh(), w.DoneCh()
	go w.Start()
}

// noteRenewal records the ttl that a renewal has granted.
func (l *lifetime) noteRenewal(r *api.RenewOutput) {
	l.tries = 0
	if r.Secret != nil && r.Secret.Auth != nil {
		l.extend(r.Secret.Auth.LeaseDuration)
	}
}

// watcherStopped handles the end of a watcher, and reports whether another token is
// needed. A failed renewal is retried while there is time.
func (l *lifetime) watcherStopped(err error) bool {
	for drained := false; !drained; {
		select {
		case r := <-l.renewed:
			l.noteRenewal(r)
		default:
			drained = true
		}
	}
	l.renewed, l.stopped = nil, nil
	left := time.Until(l.expires) - l.lease/5
	switch {
	case err == nil || left <= 0:
		return true
	case errors.Is(err, api.ErrLifetimeWatcherNotRenewable):
		l.nearEnd = time.After(left)
		return false
	}
	l.tries++
	l.retry = time.After(backoff(l.tries, 5*time.Second))
	return false
}

func (l *lifetime) stop() {
	if l.watcher != nil {
		l.watcher.Stop()
	}
}
