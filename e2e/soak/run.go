package main

import (
	"context"
	"fmt"
	"time"

	"kong-vault-auth/clock"
)

// How long the parts of a phase last.
const (
	// shortestFault is longer than the lookup deadline: the pause after a lookup
	// that hung passes only then.
	shortestFault = 2500 * time.Millisecond
	// snapshotWithin is when a snapshot reflects a deletion or a rotation: a second or so
	// after the plugin noticed, which happens within the ttl.
	snapshotWithin = 4 * time.Second
	// recovery is how long it may take after a fault until the store is asked
	// again: the longest pause, the lookup deadline, and what a busy machine adds.
	recovery = 15 * time.Second
)

// phaseRun is a phase that is running.
type phaseRun struct {
	*env
	phase
	credentials *phaseCredentials
	load        *load
	row         row
	timeline    timeline
	began       time.Time
	lasting     time.Duration
	third       chan int // the memory after a third of the time
}

// runPhase runs a phase, all of it under load: a fault begins and ends; during it and after it
// secrets are rotated and a credential is deleted.
func (s *env) runPhase(ctx context.Context, p phase, lasting time.Duration) (row, error) {
	sc, err := s.phaseCredentials(ctx, p)
	if err != nil {
		return row{}, err
	}
	s.forget()
	f := &phaseRun{
		env: s, phase: p, credentials: sc, lasting: lasting, began: time.Now(), third: make(chan int, 1),
		row: row{name: p.name, memory: [2]int{s.memory()}},
		timeline: timeline{
			ttl: p.on.ttl, revokes: p.on.revokes, fails: p.fails, unlistable: p.unlistable, flooded: p.flooded || p.crowded,
			rotations: map[string][]change{}, deletions: map[string]change{},
		},
	}
	f.load = s.startLoad(ctx, sc, p)
	defer f.load.stop()
	time.AfterFunc(lasting/3, func() { f.third <- s.memory() })
	for _, step := range []func(context.Context) error{f.before, f.during, f.after} {
		if err := step(ctx); err != nil {
			return row{}, err
		}
	}
	f.finish()
	sc.keepDeleted(&f.timeline)
	return f.row, ctx.Err()
}

// before ends with the beginning of the fault.
func (f *phaseRun) before(ctx context.Context) error {
	clock.Sleep(ctx, f.lasting/10)
	if f.early {
		if err := f.credentials.change(ctx, &f.timeline, 0); err != nil {
			return err
		}
		clock.Sleep(ctx, snapshotWithin)
	}
	t := &f.timeline
	t.fault.began = time.Now()
	if f.killed {
		t.killed = t.fault.began
	}
	err := call(ctx, f.begin)
	t.fault.ended = time.Now()
	return err
}

// during ends with the end of the fault, and the store's first answer after it.
func (f *phaseRun) during(ctx context.Context) error {
	lasts := max(f.lasting/3, shortestFault)
	if f.early {
		lasts = max(lasts, 2*respawn)
	}
	if f.crowded {
		note, err := f.load.runCrowd(ctx, f.credentials)
		if err != nil {
			return err
		}
		f.row.notes = append(f.row.notes, note)
	}
	clock.Sleep(ctx, lasts/2)
	if !f.unreachable && !f.early {
		if err := f.credentials.change(ctx, &f.timeline, 0); err != nil {
			return err
		}
	}
	clock.Sleep(ctx, lasts/2)
	f.timeline.cleared = time.Now()
	if err := call(ctx, f.end); err != nil {
		return err
	}
	return f.recover(ctx)
}

// after lasts until deletions and rotations must have had their effect.
func (f *phaseRun) after(ctx context.Context) error {
	err := f.credentials.change(ctx, &f.timeline, 1)
	clock.Sleep(ctx, f.timeline.honoured()+slack)
	clock.Sleep(ctx, time.Until(f.began.Add(f.lasting)))
	return err
}

// finish records the results.
func (f *phaseRun) finish() {
	f.row.memory[1] = f.memory()
	requests := f.requests()
	for _, q := range requests {
		if q.lookup {
			f.row.lookups++
		}
	}
	lasted := time.Since(f.began)
	answers := f.load.stop()
	if f.flooded {
		f.row.paced(answers, lasted)
		f.row.bounded(f.on.budget, requests, lasted)
		f.row.flat(<-f.third)
	}
	f.row.add(answers, f.timeline)
}

func call(ctx context.Context, f func(context.Context) error) error {
	if f == nil {
		return nil
	}
	return f(ctx)
}

// recover waits for the store's own answer to a lookup that began after the fault, and notes the
// first answer that shows a deletion: to a lookup, or to a listing.
func (f *phaseRun) recover(ctx context.Context) error {
	t := &f.timeline
	for range recovery / (20 * time.Millisecond) {
		for _, q := range f.requests() {
			if !q.began.After(t.cleared) || !q.answer() {
				continue
			}
			if q.lookup && t.healthy.IsZero() {
				t.healthy = q.answered
			}
			if (q.lookup && !f.unlistable || q.listing && f.on.revokes) && t.shown.IsZero() {
				t.shown = q.answered
			}
		}
		if !t.healthy.IsZero() && !t.shown.IsZero() {
			return nil
		}
		if !clock.Sleep(ctx, 20*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("the store has answered nothing for %s after it was over", recovery)
}
