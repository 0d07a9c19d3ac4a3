package hashivault

import (
	"errors"
	"time"

	"github.com/hashicorp/vault/api"
)

// lifetime has one token renewed, and tells when it nears its end.
type lifetime struct {
	client  *api.Client
	token   string
	lease   time.Duration
	expires time.Time
	watcher *api.LifetimeWatcher
	renewed <-chan *api.RenewOutput
	stopped <-chan error     // the watcher has given up, or renewal no longer helps
	again   <-chan time.Time // start another watcher
	near    <-chan time.Time // the end of a token that can't be renewed
	tries   int
}

// watch begins with a token whose life Vault has just told.
func (l *lifetime) watch(client *api.Client, auth *api.SecretAuth) {
	l.client, l.token = client, auth.ClientToken
	switch l.extend(auth.LeaseDuration); {
	case l.lease <= 0: // it never expires
	case auth.Renewable:
		l.renew()
	default:
		l.near = time.After(l.lease - l.lease/5)
	}
}

func (l *lifetime) extend(seconds int) {
	l.lease = time.Duration(seconds) * time.Second
	if l.lease > 0 {
		l.expires = time.Now().Add(l.lease)
	}
}

// renew starts a watcher, which renews at once and then in good time. It is to
// stop at the first error: left to itself it would repeat after ten seconds, too
// late for short tokens, and, once its backoff has run out, without any pause.
func (l *lifetime) renew() {
	l.again = nil
	w, err := l.client.NewLifetimeWatcher(&api.LifetimeWatcherInput{
		Secret: &api.Secret{Auth: &api.SecretAuth{
			ClientToken:   l.token,
			LeaseDuration: max(1, int(time.Until(l.expires)/time.Second)),
			Renewable:     true,
		}},
		RenewBehavior: api.RenewBehaviorErrorOnErrors,
	})
	if err != nil { // it complains of missing input only
		return
	}
	l.watcher, l.renewed, l.stopped = w, w.RenewCh(), w.DoneCh()
	go w.Start()
}

// noteRenewal takes in what a renewal has granted.
func (l *lifetime) noteRenewal(r *api.RenewOutput) {
	l.tries = 0
	if r.Secret != nil && r.Secret.Auth != nil {
		l.extend(r.Secret.Auth.LeaseDuration)
	}
}

// over takes in why a watcher has stopped, and reports whether it is time for
// another token. While a failed renewal leaves time, it is repeated.
func (l *lifetime) over(err error) bool {
	for {
		select {
		case r := <-l.renewed:
			l.noteRenewal(r)
			continue
		default:
		}
		break
	}
	l.renewed, l.stopped = nil, nil
	left := time.Until(l.expires) - l.lease/5
	switch {
	case err == nil || left <= 0:
		return true
	case errors.Is(err, api.ErrLifetimeWatcherNotRenewable):
		l.near = time.After(left)
		return false
	}
	l.tries++
	l.again = time.After(growing(l.tries, 5*time.Second))
	return false
}

func (l *lifetime) stop() {
	if l.watcher != nil {
		l.watcher.Stop()
	}
}
