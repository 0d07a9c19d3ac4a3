package recording

import (
	"fmt"
	"strings"
)

// Step is one thing that happens to a Kong or to its plugin server, and what
// the plugin server saw while requests were answered after it.
type Step struct {
	Step   string   `json:"step"`
	Calls  []string `json:"calls"`  // each the first time that it came; workers are not told apart
	Status []int    `json:"status"` // of the answers, each the first time
}

// LifeCycle runs a Kong and its plugin server through changes, failures and
// reloads. It leaves another configuration behind than [Config].
func LifeCycle(k Kong, p *Probe, u *Upstream) ([]Step, error) {
	config := func(names ...string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "_format_version: \"3.0\"\nservices:\n- name: echo\n  url: http://%s\n  routes:\n", u.plain.Addr())
		for i, name := range names {
			fmt.Fprintf(&b, "  - name: r%d\n    id: 0000000%d-0000-4000-8000-000000000000\n    paths: [/r%[1]d]\n", i, i)
			if name != "" {
				fmt.Fprintf(&b, "    plugins: [{id: 1000000%d-0000-4000-8000-000000000000, name: probe, config: {name: %s}}]\n", i, name)
			}
		}
		return b.String()
	}
	var steps []Step
	step := func(name string, requests int, path string, act func() error) error {
		p.setScript(script{})
		if act != nil {
			if err := act(); err != nil {
				return fmt.Errorf("step %q: %w", name, err)
			}
		}
		s := Step{Step: name}
		for range requests {
			a, err := sendHTTP1(k.Addr(), strings.ReplaceAll(request("GET", path, "Connection: close\r\n", ""), "$HOST", k.Addr()), false)
			if err != nil {
				return fmt.Errorf("step %q: %w", name, err)
			}
			s.Status = appendNew(s.Status, a.Status)
		}
		seen, _ := p.observed()
		for _, what := range seen {
			s.Calls = appendNew(s.Calls, what)
		}
		steps = append(steps, s)
		return nil
	}
	set := func(names ...string) func() error {
		return func() error { return k.SetConfig(config(names...)) }
	}
	const several = 8 // requests, for both workers to be met
	for _, s := range []struct {
		name     string
		requests int
		path     string
		act      func() error
	}{
		{"the first requests", several, "/r0", set("a")},
		{"further requests", several, "/r0", nil},
		{"the plugin's configuration is changed", several, "/r0", set("b")},
		{"the same configuration is sent again", several, "/r0", set("b")},
		{"another route is added", several, "/r0", set("b", "c")},
		{"requests of the other route", several, "/r1", nil},
		{"the plugin is deleted", several, "/r0", set("", "c")},
		{"the plugin is added again", several, "/r0", set("d", "c")},
		{"the connection is closed once in an event", several, "/r0", func() error { p.setScript(script{end: hangup}); return nil }},
		{"the plugin server is killed and started again", several, "/r0", func() error { p.Kill(); return p.Listen() }},
		{"nobody listens", 1, "/r0", func() error { p.Kill(); return nil }},
		{"the plugin server is back", several, "/r0", p.Listen},
		{"an instance can't be started", 1, "/r0", func() error { p.setRefuse(true); return k.SetConfig(config("e", "c")) }},
		{"it can be started again", several, "/r0", func() error { p.setRefuse(false); return nil }},
		{"kong reload", several, "/r0", k.Reload},
	} {
		if err := step(s.name, s.requests, s.path, s.act); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

func appendNew[T comparable](list []T, v T) []T {
	for _, have := range list {
		if have == v {
			return list
		}
	}
	return append(list, v)
}

func (p *Probe) setRefuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}
