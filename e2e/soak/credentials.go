package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// credentialSet are the credentials of a vault object for all phases.
type credentialSet struct {
	env    *env
	object *vaultObject
	known  []claim
	gone   []claim // deleted in the phase before
}

const (
	knownPairs  = 100
	unreadPairs = 20     // of each phase
	newcomers   = 20_000 // of a crowd
)

// credentialSet returns that of an object, which is made when it is first needed.
func (s *env) credentialSet(ctx context.Context, o *vaultObject) (*credentialSet, error) {
	if c := s.sets[o]; c != nil {
		return c, nil
	}
	c := &credentialSet{env: s, object: o}
	for range knownPairs {
		p, err := c.store(ctx, known)
		if err != nil {
			return nil, err
		}
		c.known = append(c.known, p)
	}
	s.sets[o] = c
	return c, nil
}

// store makes a credential, whose owner has an address of its own.
func (c *credentialSet) store(ctx context.Context, k kind) (claim, error) {
	n := c.env.stored.Add(1)
	p := claim{
		kind: k, path: c.object.path(), from: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}),
		access: "access-" + rand.Text(), secret: "secret-" + rand.Text(), consumer: consumers[n%2].Username,
	}
	return p, c.put(ctx, p, nil)
}

func (c *credentialSet) put(ctx context.Context, p claim, extra object) error {
	record := object{"access_token": p.access, "secret_token": p.secret, "consumer": object{"username": p.consumer}}
	for field, value := range extra {
		record[field] = value
	}
	return c.env.put(ctx, c.object.folder(), p.access, record)
}

// phaseCredentials are the credentials of one phase.
type phaseCredentials struct {
	*credentialSet
	unread          []claim
	deleted         [2]claim // one for each change
	graced, rotated rotating
	crowd           []claim // if the phase has one
}

// rotating is a credential whose secret token changes.
type rotating struct {
	latest atomic.Pointer[[2]claim] // the latest generation, and the one before
}

func (r *rotating) any() claim { return r.latest.Load()[mathrand.N(2)] }

// phaseCredentials stores the credentials of a phase, and requests those once that the plugin
// is to know.
func (s *env) phaseCredentials(ctx context.Context, p phase) (*phaseCredentials, error) {
	c, err := s.credentialSet(ctx, p.on)
	if err != nil {
		return nil, err
	}
	sc := &phaseCredentials{credentialSet: c}
	warm := c.known
	for range unreadPairs {
		p, err := c.store(ctx, unread)
		if err != nil {
			return nil, err
		}
		sc.unread = append(sc.unread, p)
	}
	for i := range sc.deleted {
		p, err := c.store(ctx, deleted)
		if err != nil {
			return nil, err
		}
		sc.deleted[i] = p
		warm = append(warm[:len(warm):len(warm)], p)
	}
	for k, r := range map[kind]*rotating{graced: &sc.graced, rotated: &sc.rotated} {
		p, err := c.store(ctx, k)
		if err != nil {
			return nil, err
		}
		r.latest.Store(&[2]claim{p, p})
		warm = append(warm[:len(warm):len(warm)], p)
	}
	for _, p := range warm {
		if status, _ := s.ask(ctx, http.DefaultClient, p); status != 200 {
			return nil, fmt.Errorf("before the phase, a %s is answered %d", p.kind, status)
		}
	}
	if p.crowded {
		err = sc.storeCrowd(ctx)
	}
	return sc, errors.Join(err, ctx.Err())
}

// storeCrowd stores the credentials of a crowd.
func (sc *phaseCredentials) storeCrowd(ctx context.Context) error {
	const writers = 16
	var all sync.WaitGroup
	var errs [writers]error
	sc.crowd = make([]claim, newcomers)
	for w := range writers {
		all.Go(func() {
			for i := w; i < newcomers && errs[w] == nil; i += writers {
				sc.crowd[i], errs[w] = sc.store(ctx, unread)
			}
		})
	}
	all.Wait()
	return errors.Join(errs[:]...)
}

// keepDeleted keeps the deleted credentials, which the next phase asks for too.
func (sc *phaseCredentials) keepDeleted(t *timeline) {
	sc.gone = nil
	for _, p := range sc.deleted {
		if _, ok := t.deletions[p.access]; ok {
			p.kind = gone
			sc.gone = append(sc.gone, p)
		}
	}
}

// change rotates the credentials that rotate, and deletes the i-th of those to delete.
func (sc *phaseCredentials) change(ctx context.Context, t *timeline, i int) error {
	if err := sc.rotate(ctx, t); err != nil {
		return err
	}
	return sc.remove(ctx, t, i)
}

func (sc *phaseCredentials) rotate(ctx context.Context, t *timeline) error {
	for _, r := range []*rotating{&sc.graced, &sc.rotated} {
		old := r.latest.Load()[0]
		next := old
		next.generation++
		next.secret = "secret-" + rand.Text()
		var grace object
		if r == &sc.graced {
			grace = object{"previous_secret_token": old.secret, "previous_expires_at": time.Now().Add(time.Hour).Unix()}
		}
		began := time.Now()
		if err := sc.put(ctx, next, grace); err != nil {
			return err
		}
		t.rotations[next.access] = append(t.rotations[next.access], change{began, time.Now()})
		r.latest.Store(&[2]claim{next, old})
	}
	return nil
}

func (sc *phaseCredentials) remove(ctx context.Context, t *timeline, i int) error {
	token, began := sc.deleted[i].access, time.Now()
	err := sc.env.delete(ctx, sc.object.folder(), token)
	t.deletions[token] = change{began, time.Now()}
	return err
}
