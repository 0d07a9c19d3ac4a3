package main

import (
	"context"
	"time"
)

// store is a secret store that the plugin reads, and what can go wrong with it.
// Credentials are kept in folders, one for each vault object. Its methods are
// safe for concurrent use, but for those of its faults.
type store interface {
	String() string

	// object is the kind and the configuration of a vault object whose
	// credentials are in a folder; nowhere is what leads it to a host whose name
	// doesn't resolve. environ is what the plugin server's environment holds.
	object(folder string) (kind string, config object)
	nowhere() object
	environ() []string

	put(ctx context.Context, folder, access string, record object) error
	delete(ctx context.Context, folder, access string) error

	// faults are those of the store, each once. down is one of them, and
	// unlistable one that concerns listings only.
	faults() []fault
	down() fault
	unlistable() fault

	// requests are those that have reached the store, or what injects its faults,
	// since the last forget.
	requests() []request
	forget()

	close() error
}

type object = map[string]any

// fault is one thing that goes wrong with a store.
type fault struct {
	name        string
	harmless    bool // lookups are answered all the same
	unreachable bool // for everybody: nothing can be changed in it
	begin, end  func(context.Context) error
}

// request is one of the plugin's to a store.
type request struct {
	lookup, listing bool // neither: a login, say
	began, answered time.Time
	found, absent   bool // the store's own answer; neither: a fault's, or none yet
}

// answer reports whether the store itself has answered.
func (r request) answer() bool { return r.found || r.absent }
