package main

import (
	"context"
	"errors"
	"syscall"
)

// phase is one thing that goes wrong.
type phase struct {
	name        string
	on          *vaultObject
	parts       int                         // of the time; 0: one
	fails       bool                        // the store fails
	unlistable  bool                        // the store can't be listed
	unreachable bool                        // nobody can change anything in the store
	early       bool                        // credentials change before the fault
	flooded     bool                        // with guesses, throughout
	crowded     bool                        // with newcomers and guesses, once the fault has begun
	nowhere     bool                        // requests go to the object unresolved too
	killed      bool                        // the plugin server is killed
	begin, end  func(context.Context) error // nil for nothing
}

// phases are all phases of a store, in their order. The crowd comes last: it leaves 20,000
// credentials, which every later listing of a key vault would contain.
func (s *env) phases() []phase {
	all := []phase{{name: "nothing", on: plain}}
	for _, f := range s.faults() {
		all = append(all, phase{name: f.name, on: plain, fails: !f.harmless, unreachable: f.unreachable, begin: f.begin, end: f.end})
	}
	down, unlistable := s.down(), s.unlistable()
	return append(all,
		phase{name: "name doesn't resolve", on: plain, nowhere: true},
		phase{
			name: "Kong's database gone", on: plain,
			begin: func(context.Context) error { s.gateway.SetDatabaseDown(true); return nil },
			end:   func(context.Context) error { s.gateway.SetDatabaseDown(false); return nil },
		},
		phase{name: "kong reload", on: plain, begin: s.gateway.Reload, end: s.gateway.AwaitReloaded},
		phase{name: "plugin server killed", on: plain, killed: true, begin: s.kill},
		phase{
			name: "killed while the store is down", on: kept, fails: true, killed: true, early: true,
			begin: func(ctx context.Context) error { return errors.Join(down.begin(ctx), s.kill(ctx)) },
			end:   down.end,
		},
		phase{name: "revoked by listings", on: listed},
		phase{name: "revoked, " + unlistable.name, on: listed, unlistable: true, begin: unlistable.begin, end: unlistable.end},
		phase{name: "revoked, " + down.name, on: listed, fails: true, begin: down.begin, end: down.end},
		phase{name: "50,000 guesses a minute", on: limited, flooded: true, parts: 3},
		phase{
			name: "empty cache and a crowd", on: limited, killed: true, crowded: true, parts: 2,
			begin: func(ctx context.Context) error { return errors.Join(s.kill(ctx), s.gateway.AwaitReady(ctx)) },
		},
	)
}

// kill ends the plugin server, and returns when it has.
func (s *env) kill(context.Context) error {
	servers := s.gateway.PluginServers()
	s.gateway.KillPluginServers(syscall.SIGKILL)
	for _, p := range servers {
		<-p.Exited
	}
	return nil
}
