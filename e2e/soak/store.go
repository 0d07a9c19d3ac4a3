package main

import (
	"context"
	"time"
)

// store is a secret store that the plugin reads, and its faults. Credentials are kept in
// folders, one for each vault object. Its methods are safe for concurrent use, except for those
// of its faults.
type store interface {
	String() string

	// object is the kind and the configuration of a vault object whose
	// credentials are in a folder; nowhere are settings that lead it to a host
	// whose name doesn't resolve. environ is the plugin server's environment.
	object(folder string) (kind string, config object)
	nowhere() object
	environ() []string

	put(ctx context.Context, folder, access string, record object) error
	delete(ctx context.Context, folder, access string) error

	// faults are the store's faults, each once. down is one of them;
	// unlistable concerns listings only.
	faults() []fault
	down() fault
	unlistable() fault

	// requests are the requests that have reached the store, or the proxy that
	// injects its faults, since the last forget.
	requests() []request
	forget()

	close() error
}

type object = map[string]any

// fault is one thing that goes wrong with a store.
type fault struct {
	name        string
	harmless    bool // lookups are still answered
	unreachable bool // nobody can change anything in the store
	begin, end  func(context.Context) error
}

// request is a request of the plugin to a store.
type request struct {
	lookup, listing bool // neither: a login, say
	began, answered time.Time
	found, absent   bool // the store's own answer; neither: a fault's, or none yet
}

// answer reports whether the store itself has answered.
func (r request) answer() bool { return r.found || r.absent }
