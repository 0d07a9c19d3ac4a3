package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/kongtest"
)

// A crowd consists of clients with good pairs that the plugin has never read, each with an
// address of its own, beside a flood of guesses. Both go straight to the plugin server's socket:
// an HTTP front for so many would take more of the machine than the plugin.
const (
	stormEvery  = time.Second / 10_000
	stormers    = 1100 // 1,000 lookups may wait
	crowdAtOnce = 100
)

// arrival is how long the answers to a crowd may take.
const arrival = 2 * time.Minute

// crowd is a crowd under way.
type crowd struct {
	load     *load
	client   *kongtest.Client
	instance int
}

// runCrowd sends a crowd's requests to a plugin server that listens, and notes how fast it was
// answered.
func (l *load) runCrowd(ctx context.Context, sc *phaseCredentials) (note string, err error) {
	config, err := json.Marshal(sc.object.pluginConfig())
	if err != nil {
		return "", err
	}
	c := &crowd{load: l, client: kongtest.NewClient(l.env.path("kong/vault-auth.socket"))}
	defer c.client.Close()
	if c.instance, err = c.client.StartInstance("vault-auth", config); err != nil {
		return "", fmt.Errorf("start an instance: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, arrival)
	defer cancel()
	began, guesses := time.Now(), atomic.Int64{}
	arrived := make(chan struct{})
	l.clients.Go(func() {
		l.openly(arrived, stormEvery, stormers, func() {
			c.send(sc.guess())
			guesses.Add(1)
		})
	})
	c.come(ctx, sc.crowd)
	lasted := time.Since(began)
	close(arrived)
	if ctx.Err() != nil {
		return "", fmt.Errorf("%d newcomers have not all been answered within %s", newcomers, arrival)
	}
	perSecond := func(n int) int { return int(float64(n) / lasted.Seconds()) }
	return fmt.Sprintf("%d newcomers in %s, %d a second, beside %d guesses a second (%d were offered)", newcomers,
		lasted.Round(100*time.Millisecond), perSecond(newcomers), perSecond(int(guesses.Load())), int(time.Second/stormEvery)), nil
}

// come sends the newcomers' requests, crowdAtOnce at a time.
func (c *crowd) come(ctx context.Context, newcomers []claim) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range crowdAtOnce {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(newcomers) && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				c.send(newcomers[i])
			}
		})
	}
	all.Wait()
}

func (c *crowd) send(claim claim) {
	s := sent{claim: claim, began: time.Now()}
	switch out, err := c.client.HandleEvent(c.instance, "access", &kongtest.Request{
		Header:    []kongtest.Header{{Name: "access_token", Value: claim.access}, {Name: "secret_token", Value: claim.secret}},
		Forwarded: netip.AddrPortFrom(claim.from, 0), Consumers: consumers,
	}); {
	case err != nil: // no answer
	case out.Exit != nil:
		s.status = out.Exit.Status
	case out.Consumer != nil:
		s.status, s.as = 200, out.Consumer.Username
	}
	c.load.keep(s)
}
