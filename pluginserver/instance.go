package pluginserver

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// How long instances are kept. Kong starts one per worker and configuration, and again after
// every reload of its configuration. It closes the old one only when a plugin was edited,
// and never when it was deleted.
const (
	keepUnused = time.Hour
	keepClosed = 10 * time.Second // for requests that were given its id before
	sweepEvery = time.Minute
)

// instance is a handler under the id that Kong knows it by.
type instance struct {
	id       int32
	plugin   *Plugin
	handler  Handler
	started  time.Time
	lastUsed atomic.Int64 // Unix nanoseconds
	running  atomic.Int32 // events
	closed   atomic.Bool
	spent    atomic.Bool // it has had its one event on a server that is leaving
}

// instances is the table of live instances. It is safe for concurrent use.
type instances struct {
	byID sync.Map // int32 to *instance
}

// add starts an instance under a random id of 31 bits. A counter would not do:
// Kong keeps ids across a restart of this process, and a counted id would then
// name another configuration.
func (t *instances) add(p *Plugin, h Handler) *instance {
	in := &instance{plugin: p, handler: h, started: time.Now()}
	in.lastUsed.Store(in.started.UnixNano())
	for {
		in.id = 1 + rand.Int32N(1<<31-1)
		if _, taken := t.byID.LoadOrStore(in.id, in); !taken {
			return in
		}
	}
}

// use returns an instance for one event; done must follow.
func (t *instances) use(id int32) (*instance, bool) {
	v, ok := t.byID.Load(id)
	if !ok {
		return nil, false
	}
	in := v.(*instance)
	in.running.Add(1)
	return in, true
}

func (in *instance) done(now time.Time) {
	in.lastUsed.Store(now.UnixNano())
	in.running.Add(-1)
}

// close drops an instance after a while: requests in flight may still name it.
func (t *instances) close(id int32) (*instance, bool) {
	v, ok := t.byID.Load(id)
	if !ok {
		return nil, false
	}
	in := v.(*instance)
	if in.closed.CompareAndSwap(false, true) {
		time.AfterFunc(keepClosed, func() { t.drop(in) })
	}
	return in, true
}

// sweep drops instances that nothing has used for an hour.
func (t *instances) sweep(now time.Time) {
	oldest := now.Add(-keepUnused).UnixNano()
	t.byID.Range(func(_, v any) bool {
		if in := v.(*instance); in.lastUsed.Load() < oldest && in.running.Load() == 0 {
			t.drop(in)
		}
		return true
	})
}

func (t *instances) drop(in *instance) {
	if _, ok := t.byID.LoadAndDelete(in.id); ok {
		in.handler.Close()
	}
}

func (t *instances) dropAll() {
	t.byID.Range(func(_, v any) bool {
		t.drop(v.(*instance))
		return true
	})
}
