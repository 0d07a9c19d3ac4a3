package gateway

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/kongtest"
)

// worker is one of nginx's worker processes: plugin instances and connections
// to plugin servers are its own.
type worker struct {
	gw      *Gateway
	gen     *generation
	clients map[string]*kongtest.Client // by plugin

	mu        sync.Mutex
	snapshot  *snapshot            // from which prepared was made
	prepared  map[string]*prepared // by the plugin entity's id
	instances map[string]*instance // likewise
	fronts    map[*front]bool      // client connections
}

// snapshot is the configuration in effect at some time.
type snapshot struct{ *configuration }

// prepared is a plugin entity as this worker hands it to the plugin.
type prepared struct {
	*pluginEntity
	sequence int64
	json     []byte
}

// instance is what a worker knows of a plugin instance. While it is being
// started, starting is open.
type instance struct {
	plugin   string // empty until it has started once
	id       int
	sequence int64
	starting chan struct{}
}

func newWorker(gen *generation) *worker {
	w := &worker{gw: gen.gw, gen: gen, clients: map[string]*kongtest.Client{}, instances: map[string]*instance{}, fronts: map[*front]bool{}}
	for name, p := range gen.plugins {
		if p.server != nil {
			w.clients[name] = kongtest.NewClient(p.server.Socket)
		}
	}
	return w
}

// sequences numbers configurations over all workers, as Kong's __seq__.
var sequences atomic.Int64

// prepare returns the plugins' configurations as of the snapshot in effect. A
// new snapshot renews every sequence number, and with it every instance.
func (w *worker) prepare() (*snapshot, map[string]*prepared) {
	current := w.gen.snapshot.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.snapshot == current {
		return w.snapshot, w.prepared
	}
	all := map[string]*prepared{}
	for _, e := range current.plugins {
		p := &prepared{pluginEntity: e, sequence: sequences.Add(1)}
		config := maps.Clone(e.config)
		for key, value := range map[string]string{
			"route_id": e.route, "service_id": e.service, "consumer_id": e.consumer, "plugin_instance_name": e.Instance,
		} {
			if value != "" {
				config[key] = value
			}
		}
		config["__plugin_id"] = e.ID
		config["__ws_id"] = workspaceID
		config["__key__"] = fmt.Sprintf("plugins:%s:%s:%s:%s::%s", e.Name, e.route, e.service, e.consumer, workspaceID)
		config["__seq__"] = p.sequence
		p.json, _ = json.Marshal(config) // of strings, numbers and tables: can't fail
		all[e.ID] = p
	}
	w.snapshot, w.prepared = current, all
	return current, all
}

const workspaceID = "0dc6f45b-8f8d-40d2-a504-473544ee190b"

// access runs the access phase: the plugins by priority, each with the
// configuration that fits the request best, until one answers.
func (w *worker) access(x *exchange) {
	_, configs := w.prepare()
	for _, p := range w.byPriority() {
		conf := choose(configs, p.name, x)
		if conf == nil || !p.hasPhase("access") {
			continue
		}
		x.Plugin = p.name
		if p.access != nil {
			p.access(x, conf.config, w)
		} else {
			w.event(x, p, conf)
		}
		x.Plugin = ""
		if x.Exit != nil {
			return
		}
	}
}

func (w *worker) byPriority() []*plugin {
	return slices.SortedFunc(maps.Values(w.gen.plugins), func(a, b *plugin) int {
		return cmp.Or(b.priority-a.priority, cmp.Compare(a.name, b.name))
	})
}

// log runs the log phase of the stand-ins, also for a request that was refused.
func (w *worker) log(x *exchange) {
	_, configs := w.prepare()
	for _, p := range w.byPriority() {
		if p.log == nil {
			continue
		}
		if conf := choose(configs, p.name, x); conf != nil {
			p.log(x, conf.config)
		}
	}
}

// choose finds the most specific configuration of a plugin: consumer before
// route before service, the more the better (lookup_cfg in Kong's
// runloop/plugins_iterator.lua).
func choose(configs map[string]*prepared, name string, x *exchange) *prepared {
	consumer := ""
	if c := x.Outcome().Consumer; c != nil {
		consumer = c.ID
	}
	var best *prepared
	bestScore := -1
	for _, c := range configs {
		if c.Name != name || !c.Enabled ||
			c.route != "" && (x.Request.Route == nil || c.route != x.Request.Route.ID) ||
			c.service != "" && (x.Request.Service == nil || c.service != x.Request.Service.ID) ||
			c.consumer != "" && c.consumer != consumer {
			continue
		}
		scopes := []int{truth(c.route != ""), truth(c.consumer != ""), truth(c.service != "")}
		score := 8*(scopes[0]+scopes[1]+scopes[2]) + 2*scopes[0] + 4*scopes[1] + scopes[2]
		if score > bestScore {
			best, bestScore = c, score
		}
	}
	return best
}

// event runs a plugin's access event, and again as often as Kong would.
func (w *worker) event(x *exchange, p *plugin, conf *prepared) {
	for {
		x.rounds[p.name]++
		id, err := w.instanceID(p, conf)
		if err == nil {
			err = w.clients[p.name].RunEvent(id, "access", x.Exchange)
		}
		if err == nil {
			return
		}
		var callErr *kongtest.CallError
		if !errors.As(err, &callErr) {
			x.Log("error", err.Error())
			x.unexpected()
			return
		}
		if !callErr.Retried() {
			x.Log("error", "pluginserver error: "+err.Error())
			x.unexpected()
			return
		}
		w.gen.resetInstances(p.name)
		x.Log("warn", err.Error())
		if w.gw.giveUp(x, p.name, x.rounds[p.name]) {
			x.unexpected()
			return
		}
	}
}

// claimTimeout is how long Kong waits for another request to have started the
// instance.
const claimTimeout = 10 * time.Second

// instanceID returns the instance of a configuration, starting one if
// needed. A new one replaces that of an older configuration, which is closed
// afterwards.
func (w *worker) instanceID(p *plugin, conf *prepared) (int, error) {
	w.mu.Lock()
	in := w.instances[conf.ID]
	for in != nil && in.starting != nil {
		starting := in.starting
		w.mu.Unlock()
		late := time.NewTimer(claimTimeout)
		select {
		case <-starting:
			late.Stop()
		case <-late.C:
			w.mu.Lock()
			delete(w.instances, conf.ID)
			w.mu.Unlock()
			return 0, &kongtest.CallError{Message: fmt.Sprintf("Could not claim instance_id for %s (key: %s)", p.name, conf.ID)}
		}
		w.mu.Lock()
		in = w.instances[conf.ID]
	}
	if in != nil && in.sequence == conf.sequence {
		defer w.mu.Unlock()
		return in.id, nil
	}
	old, hadOld := 0, in != nil
	if hadOld {
		old = in.id
	} else {
		in = &instance{sequence: conf.sequence}
		w.instances[conf.ID] = in
	}
	in.starting = make(chan struct{})
	w.mu.Unlock()

	id, err := w.clients[p.name].StartInstance(p.name, conf.json)
	w.mu.Lock()
	close(in.starting)
	in.starting = nil
	if err != nil {
		delete(w.instances, conf.ID)
		w.mu.Unlock()
		w.gw.log("error", "starting instance: "+err.Error())
		return 0, &kongtest.LuaError{Message: err.Error()}
	}
	in.plugin, in.id, in.sequence = p.name, id, conf.sequence
	w.mu.Unlock()
	if hadOld {
		w.clients[p.name].CloseInstance(old) // Kong ignores the outcome
	}
	return id, nil
}

// resetInstances drops the instances of a plugin.
func (w *worker) resetInstances(plugin string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.instances, func(_ string, in *instance) bool { return in.plugin == plugin })
}

// quit closes the client connections that wait for another request.
func (w *worker) quit() {
	w.mu.Lock()
	fronts := slices.Collect(maps.Keys(w.fronts))
	w.mu.Unlock()
	for _, f := range fronts {
		f.quit()
	}
}

// die drops every connection, to clients and to plugin servers.
func (w *worker) die() {
	w.mu.Lock()
	fronts := slices.Collect(maps.Keys(w.fronts))
	w.mu.Unlock()
	for _, f := range fronts {
		f.Close()
	}
	for _, c := range w.clients {
		c.Abort()
	}
}

// unexpected is Kong's own answer to a plugin that failed.
func (x *exchange) unexpected() { x.Fail(500, "An unexpected error occurred") }
