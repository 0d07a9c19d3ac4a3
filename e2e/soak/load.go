package main

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// load sends requests of all kinds, until it is stopped.
type load struct {
	stage   *stage
	ctx     context.Context
	client  *http.Client
	ended   chan struct{}
	stopped sync.Once
	clients sync.WaitGroup
	mu      sync.Mutex
	answers []sent // guarded by mu
}

// clients of one kind send one request after the other, each at its pace.
type clients struct {
	number int
	pace   time.Duration
	path   string
	next   func() claim
}

// The flood: guesses are sent as they are due, whether or not others have been
// answered, as long as there is a guesser to send them.
const (
	guessEvery = time.Minute / 50_000
	guessers   = 1200 // more than the 1,000 that may wait for a place
)

func (s *stage) startLoad(ctx context.Context, sc *scene, p phase) *load {
	l := &load{stage: s, ctx: ctx, ended: make(chan struct{}), client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: guessers},
		Timeout:   10 * time.Second,
	}}
	all := []clients{
		{8, 25 * time.Millisecond, guarded, func() claim { return pick(sc.known) }},
		{1, 100 * time.Millisecond, guarded, func() claim { return pick(sc.unread) }},
		{2, 50 * time.Millisecond, guarded, sc.graced.any},
		{2, 50 * time.Millisecond, guarded, sc.rotated.any},
		{2, 50 * time.Millisecond, guarded, func() claim { return pick(sc.deleted[:]) }},
		{2, 100 * time.Millisecond, guarded, func() claim {
			c := pick(sc.known)
			c.kind, c.secret = wrong, "secret-"+rand.Text()
			return c
		}},
		{2, 100 * time.Millisecond, guarded, guess},
	}
	if p.nowhere {
		all = append(all, clients{2, 50 * time.Millisecond, unresolved, func() claim {
			c := pick(sc.known)
			c.kind = nowhere
			return c
		}})
	}
	for _, c := range all {
		for range c.number {
			l.clients.Go(func() { l.run(c) })
		}
	}
	if p.flooded {
		l.clients.Go(l.flood)
	}
	return l
}

func pick(from []claim) claim { return from[mathrand.N(len(from))] }

func guess() claim {
	return claim{kind: unknown, access: "access-" + rand.Text(), secret: "secret-" + rand.Text()}
}

func (l *load) run(c clients) {
	ticks := time.NewTicker(c.pace)
	defer ticks.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-ticks.C:
			l.send(c.path, c.next())
		}
	}
}

func (l *load) flood() {
	room := make(chan struct{}, guessers)
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	began, made := time.Now(), 0
	for {
		select {
		case <-l.ended:
			return
		case <-ticks.C:
		}
		for ; made < int(time.Since(began)/guessEvery) && len(room) < guessers; made++ {
			room <- struct{}{}
			l.clients.Go(func() {
				l.send(guarded, guess())
				<-room
			})
		}
	}
}

func (l *load) send(path string, c claim) {
	s := sent{claim: c, began: time.Now()}
	s.status, s.as = l.stage.ask(l.ctx, l.client, path, c)
	s.ended = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, s)
}

// stop returns all answers.
func (l *load) stop() []sent {
	l.stopped.Do(func() { close(l.ended) })
	l.clients.Wait()
	l.client.CloseIdleConnections()
	return l.answers
}
