package main

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"path"
	"strings"
	"sync/atomic"
	"time"
)

// cast are the credentials that all phases use.
type cast struct {
	stage *stage
	known []claim
}

const (
	knownPairs  = 100
	unreadPairs = 20 // of each phase
)

func hire(ctx context.Context, s *stage) (*cast, error) {
	c := &cast{stage: s}
	for range knownPairs {
		p, err := c.store(ctx, known)
		if err != nil {
			return nil, err
		}
		c.known = append(c.known, p)
	}
	return c, nil
}

// store makes a credential.
func (c *cast) store(ctx context.Context, k kind) (claim, error) {
	p := claim{kind: k, access: "access-" + rand.Text(), secret: "secret-" + rand.Text(), consumer: consumers[mathrand.N(len(consumers))]}
	return p, c.put(ctx, p, nil)
}

func (c *cast) put(ctx context.Context, p claim, extra object) error {
	record := object{"access_token": p.access, "secret_token": p.secret, "consumer": object{"username": p.consumer}}
	for field, value := range extra {
		record[field] = value
	}
	return c.stage.vault.Put(ctx, kv, p.access, record)
}

// isRead reports whether a request to Vault is a lookup.
func isRead(at string) bool { return strings.HasPrefix(at, "/v1/"+path.Dir(kv.Secret("x"))+"/") }

// scene are the credentials of one phase.
type scene struct {
	*cast
	unread          []claim
	deleted         [2]claim // one for each change
	graced, rotated rotating
}

// rotating is a credential whose secret token changes.
type rotating struct {
	latest atomic.Pointer[[2]claim] // the latest generation, and the one before
}

func (r *rotating) any() claim { return r.latest.Load()[mathrand.N(2)] }

// scene stores the credentials of a phase, and has those read that the plugin is
// to know.
func (c *cast) scene(ctx context.Context) (*scene, error) {
	sc := &scene{cast: c}
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
		if status, _ := c.stage.ask(ctx, http.DefaultClient, guarded, p); status != 200 {
			return nil, fmt.Errorf("before the phase, a %s is answered %d", p.kind, status)
		}
	}
	return sc, ctx.Err()
}

// change rotates the credentials that rotate, and deletes the i-th of those that
// are deleted.
func (sc *scene) change(ctx context.Context, t *timeline, i int) error {
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
	doomed, began := sc.deleted[i].access, time.Now()
	err := sc.stage.vault.Delete(ctx, kv, doomed)
	t.deletions[doomed] = change{began, time.Now()}
	return err
}
