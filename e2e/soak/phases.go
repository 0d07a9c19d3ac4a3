package main

import (
	"context"
	"fmt"
	"net/http"
	"syscall"
	"time"

	"kong-vault-auth/e2e/faults"
)

// phase is one thing that goes wrong.
type phase struct {
	name        string
	fails       bool // the store
	unreachable bool // for everybody: nothing can be changed in it
	flooded     bool
	nowhere     bool
	killed      bool
	begin, end  func(context.Context) error // nil for nothing
}

func (s *stage) phases() []phase {
	all := []phase{{name: "nothing"}}
	for _, f := range faults.All() {
		all = append(all, phase{
			name: f.Name, fails: true,
			begin: func(context.Context) error { return s.proxy.Set(f) },
			end:   func(context.Context) error { return s.proxy.Clear() },
		})
	}
	return append(all,
		phase{
			name: "Vault stopped", fails: true, unreachable: true,
			begin: func(context.Context) error { return s.vault.Stop() },
			end:   s.vault.Restart,
		},
		phase{name: "Vault sealed", fails: true, unreachable: true, begin: s.vault.Seal, end: s.vault.Unseal},
		phase{name: "name doesn't resolve", nowhere: true},
		phase{
			name:  "Kong's database gone",
			begin: func(context.Context) error { s.gateway.SetDatabaseDown(true); return nil },
			end:   func(context.Context) error { s.gateway.SetDatabaseDown(false); return nil },
		},
		phase{
			name:  "kong reload",
			begin: s.gateway.Reload,
			end:   s.gateway.AwaitReloaded,
		},
		phase{
			name: "plugin server killed", killed: true,
			begin: func(context.Context) error { s.gateway.KillPluginServers(syscall.SIGKILL); return nil },
		},
		phase{name: "50,000 guesses a minute", flooded: true},
	)
}

// recovery is how long it may take after a fault until the store is asked again:
// the longest pause, the lookup deadline, and what a busy machine adds.
const recovery = 15 * time.Second

// play goes through a phase: load throughout; the fault from a tenth on, for a
// third of the time; in its middle, and again after it, secrets are rotated and a
// credential is deleted.
func (s *stage) play(ctx context.Context, p phase, lasting time.Duration) (row, error) {
	scene, err := s.cast.scene(ctx)
	if err != nil {
		return row{}, err
	}
	s.proxy.Forget()
	r := row{name: p.name, memory: [2]int{s.memory()}}
	t := timeline{fails: p.fails, flooded: p.flooded, rotations: map[string][]change{}, deletions: map[string]change{}}
	l := s.startLoad(ctx, scene, p)
	defer l.stop()
	began := time.Now()
	until := func(share time.Duration) bool { return sleep(ctx, time.Until(began.Add(lasting*share/100))) }

	until(10)
	t.fault.began = time.Now()
	if p.killed {
		t.killed = t.fault.began
	}
	if err := call(ctx, p.begin); err != nil {
		return row{}, err
	}
	t.fault.ended = time.Now()
	until(27)
	if !p.unreachable {
		if err := scene.change(ctx, &t, 0); err != nil {
			return row{}, err
		}
	}
	until(43)
	t.cleared = time.Now()
	if err := call(ctx, p.end); err != nil {
		return row{}, err
	}
	if t.healthy, err = s.answered(ctx, t.cleared); err != nil {
		return row{}, err
	}
	sleep(ctx, slack)
	if err := scene.change(ctx, &t, 1); err != nil {
		return row{}, err
	}
	sleep(ctx, ttl+2*slack) // in which what was deleted and rotated has to be over
	until(100)

	r.memory[1] = s.memory()
	for _, request := range s.proxy.Requests() {
		if isRead(request.Path) {
			r.reads++
		}
	}
	r.add(l.stop(), t)
	return r, ctx.Err()
}

func call(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

// sleep reports whether it wasn't interrupted.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// answered waits for Vault's own answer to a lookup that began after a time.
func (s *stage) answered(ctx context.Context, since time.Time) (time.Time, error) {
	for range recovery / (20 * time.Millisecond) {
		for _, r := range s.proxy.Requests() {
			if r.Began.After(since) && isRead(r.Path) && (r.Status == http.StatusOK || r.Status == http.StatusNotFound) {
				return r.Answered, nil
			}
		}
		if !sleep(ctx, 20*time.Millisecond) {
			return time.Time{}, ctx.Err()
		}
	}
	return time.Time{}, fmt.Errorf("no lookup was answered for %s after it was over", recovery)
}
