package main

import (
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// load sends requests of all kinds until stop.
type load struct {
	env     *env
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
	next   func() claim
}

// In a flood, guesses, and requests of known pairs beside them, are sent when they are due,
// whether or not others have been answered, as long as there is a client to send them.
const (
	guessEvery = time.Minute / 50_000
	guessers   = 1200 // more than the 1,000 lookups that may wait
	goodEvery  = time.Second / 1000
	goodAtOnce = 200
)

// attackers is how many addresses guesses come from: enough to use up the budget, of which each
// has a tenth.
const attackers = 200

func (s *env) startLoad(ctx context.Context, sc *phaseCredentials, p phase) *load {
	l := &load{env: s, ctx: ctx, ended: make(chan struct{}), client: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: guessers + goodAtOnce},
		Timeout:   10 * time.Second,
	}}
	pick := func(from []claim) func() claim {
		return func() claim { return from[mathrand.N(len(from))] }
	}
	knownPair := pick(sc.known)
	all := []clients{
		{8, 25 * time.Millisecond, knownPair},
		{1, 100 * time.Millisecond, pick(sc.unread)},
		{2, 50 * time.Millisecond, sc.graced.any},
		{2, 50 * time.Millisecond, sc.rotated.any},
		{2, 50 * time.Millisecond, pick(append(sc.deleted[:], sc.gone...))},
		{2, 100 * time.Millisecond, func() claim {
			c := knownPair()
			c.kind, c.secret = wrong, "secret-"+rand.Text()
			return c
		}},
		{2, 100 * time.Millisecond, sc.guess},
	}
	switch {
	case p.nowhere:
		all = append(all, clients{2, 50 * time.Millisecond, func() claim {
			c := knownPair()
			c.kind, c.path = nowhere, unresolved.path()
			return c
		}})
	case p.flooded:
		l.clients.Go(func() { l.openly(l.ended, guessEvery, guessers, func() { l.send(sc.guess()) }) })
		l.clients.Go(func() { l.openly(l.ended, goodEvery, goodAtOnce, func() { l.send(knownPair()) }) })
	}
	for _, c := range all {
		for range c.number {
			l.clients.Go(func() { l.run(c) })
		}
	}
	return l
}

// blockedNames is the prefix of names for which a firewall in front of the store answers.
const blockedNames = "wp-login"

// isBlocked reports whether a path or a secret's name has one of them.
func isBlocked(name string) bool { return strings.Contains(name, blockedNames) }

// guess is a guess of the attackers. One in ten is poisoned: a name that no store can hold, or
// that a firewall blocks.
func (sc *phaseCredentials) guess() claim {
	c := claim{
		kind: unknown, path: sc.object.path(), from: netip.AddrFrom4([4]byte{192, 168, 0, byte(mathrand.N(attackers))}),
		access: "access-" + rand.Text(), secret: "secret-" + rand.Text(),
	}
	switch mathrand.N(20) {
	case 0:
		c.kind, c.access = malformed, "a.."+rand.Text()
	case 1:
		c.kind, c.access = blocked, blockedNames+"-"+rand.Text()
	}
	return c
}

func (l *load) run(c clients) {
	ticks := time.NewTicker(c.pace)
	defer ticks.Stop()
	for {
		select {
		case <-l.ended:
			return
		case <-ticks.C:
			l.send(c.next())
		}
	}
}

// openly calls send whenever one more is due, with at most so many at once, until done.
func (l *load) openly(done <-chan struct{}, every time.Duration, most int, send func()) {
	room := make(chan struct{}, most)
	ticks := time.NewTicker(5 * time.Millisecond)
	defer ticks.Stop()
	began, made := time.Now(), 0
	for {
		select {
		case <-done:
			return
		case <-ticks.C:
		}
		for ; made < int(time.Since(began)/every) && len(room) < most; made++ {
			room <- struct{}{}
			l.clients.Go(func() {
				send()
				<-room
			})
		}
	}
}

func (l *load) send(c claim) {
	s := sent{claim: c, began: time.Now()}
	s.status, s.as = l.env.ask(l.ctx, l.client, c)
	l.keep(s)
}

func (l *load) keep(s sent) {
	s.ended = time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers = append(l.answers, s)
}

// stop ends the load and returns all answers.
func (l *load) stop() []sent {
	l.stopped.Do(func() { close(l.ended) })
	l.clients.Wait()
	l.client.CloseIdleConnections()
	return l.answers
}
