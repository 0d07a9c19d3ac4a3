package gateway

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// generation is what one start or reload of Kong brings up: workers and
// the plugin servers of the first of them. During a reload two generations
// live side by side.
type generation struct {
	gw       *Gateway
	plugins  map[string]*plugin
	snapshot atomic.Pointer[snapshot]

	mu         sync.Mutex
	accepted   int // client connections so far
	workers    []*worker
	supervisor *supervisor
	requests   int           // in flight
	quitting   bool          // no connection is kept alive any more
	finished   chan struct{} // closed when it is quitting and no request is in flight
	ended      bool          // no request may begin any more
}

func (g *Gateway) newGeneration(plugins map[string]*plugin, c *configuration) *generation {
	gen := &generation{gw: g, plugins: plugins, finished: make(chan struct{})}
	gen.snapshot.Store(&snapshot{c})
	for range g.options.Workers {
		gen.workers = append(gen.workers, newWorker(gen))
	}
	gen.supervisor = newSupervisor(g.options.PluginServers, g.serverEnv(), g.log)
	return gen
}

// accept picks the worker of a new client connection.
func (gen *generation) accept() *worker {
	gen.mu.Lock()
	defer gen.mu.Unlock()
	gen.accepted++
	return gen.workers[gen.accepted%len(gen.workers)]
}

// enter counts a request, unless the workers have ended.
func (gen *generation) enter() bool {
	gen.mu.Lock()
	defer gen.mu.Unlock()
	if gen.ended {
		return false
	}
	gen.requests++
	return true
}

func (gen *generation) leave() {
	gen.mu.Lock()
	defer gen.mu.Unlock()
	gen.requests--
	gen.signalFinished()
}

// signalFinished needs gen.mu held.
func (gen *generation) signalFinished() {
	if !gen.quitting || gen.requests > 0 {
		return
	}
	select {
	case <-gen.finished:
	default:
		close(gen.finished)
	}
}

// isQuitting reports whether connections must be closed after the request.
func (gen *generation) isQuitting() bool {
	gen.mu.Lock()
	defer gen.mu.Unlock()
	return gen.quitting
}

// resetInstances drops a plugin's instances in all workers.
func (gen *generation) resetInstances(plugin string) {
	gen.mu.Lock()
	workers := slices.Clone(gen.workers)
	gen.mu.Unlock()
	for _, w := range workers {
		w.resetInstances(plugin)
	}
}

// crash ends worker 0 at once. Its plugin servers run on; the master process
// starts another worker, which starts its own.
func (gen *generation) crash() []*process {
	gen.mu.Lock()
	defer gen.mu.Unlock()
	gen.workers[0].die()
	orphans := gen.supervisor.abandon()
	gen.workers[0] = newWorker(gen)
	gen.supervisor = newSupervisor(gen.gw.options.PluginServers, gen.gw.serverEnv(), gen.gw.log)
	return orphans
}

// quit is a graceful end: idle client connections are closed, requests in
// flight finished, and then, but not before the delay, the plugin servers get
// SIGTERM. Closing now cuts it short.
func (gen *generation) quit(delay time.Duration, now <-chan struct{}) {
	gen.mu.Lock()
	gen.quitting = true
	gen.signalFinished()
	workers := slices.Clone(gen.workers)
	gen.supervisor.end() // a worker that is exiting starts nothing again
	gen.mu.Unlock()
	for _, w := range workers {
		w.quit()
	}
	delayed := make(chan struct{})
	defer time.AfterFunc(delay, func() { close(delayed) }).Stop()
	for _, waiting := range []<-chan struct{}{delayed, gen.finished} {
		select {
		case <-waiting:
		case <-now:
		}
	}
	gen.end()
}

// end ends the workers and their plugin servers.
func (gen *generation) end() {
	gen.mu.Lock()
	gen.ended = true
	workers, supervisor := slices.Clone(gen.workers), gen.supervisor
	gen.mu.Unlock()
	for _, w := range workers {
		w.die()
	}
	if killed := supervisor.terminate(terminateTimeout); killed != nil {
		gen.gw.reportKilled(killed)
	}
}

// terminateTimeout is how long a plugin server may take to end after SIGTERM
// before the gateway kills it and logs an error. Kong would let it run.
const terminateTimeout = 10 * time.Second
