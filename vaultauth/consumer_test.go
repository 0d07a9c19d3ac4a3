package vaultauth

import (
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
)

// clock is a time that a test moves.
type clock struct{ offset atomic.Int64 }

func (c *clock) now() time.Time          { return time.Unix(1_800_000_000, c.offset.Load()) }
func (c *clock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// lookups runs find in events, as the consumer named in the header "who".
type lookups struct {
	t         *testing.T
	clock     clock
	consumers *consumers
	in        *servertest.Instance
}

func newLookups(t *testing.T) *lookups {
	l := &lookups{t: t}
	s := servertest.Serve(t, func(log *slog.Logger) pluginserver.Plugin {
		cs := newConsumers(time.Hour, log)
		cs.now = l.clock.now
		l.consumers = cs
		return pluginserver.Plugin{Start: func([]byte) (pluginserver.Handler, error) { return finder{cs}, nil }}
	}, pluginserver.Options{})
	l.in = s.Start(t, "{}")
	return l
}

type finder struct{ consumers *consumers }

func (finder) Close() {}

func (f finder) Access(e *pluginserver.Event) pluginserver.Verdict {
	e.Ask("kong.request.get_header", pluginserver.AppendText(nil, "who"))
	who, err := answerText(e)
	if err != nil {
		return pluginserver.Fault()
	}
	c, err := f.consumers.find(e, reference{username: string(who)})
	switch {
	case errors.Is(err, errConsumerGone):
		return pluginserver.Exit(401, "", nil)
	case errors.Is(err, errDatabase):
		return pluginserver.Exit(503, "", nil)
	case err != nil:
		return pluginserver.Fault()
	}
	e.Tell("kong.service.request.set_headers", c.headers)
	return pluginserver.Pass()
}

// find returns the status, the username that was set, and how often Kong's
// database was asked. Two waits mean that it was asked behind the answer.
func (l *lookups) find(who string, db kongtest.Consumers) (status int, username string, asked, waits int) {
	l.t.Helper()
	out := l.in.Access(l.t, &kongtest.Request{Header: []kongtest.Header{{Name: "who", Value: who}}, Consumers: db})
	defer l.settle()
	for _, c := range out.Calls {
		if c == methodLoadConsumer {
			asked++
		}
	}
	if out.Exit != nil {
		return out.Exit.Status, "", asked, out.Waits
	}
	for _, h := range out.Upstream.Header {
		if h.Name == "X-Consumer-Username" {
			username = h.Value
		}
	}
	return 200, username, asked, out.Waits
}

// settle waits for what is read behind the answer.
func (l *lookups) settle() {
	for _, k := range l.consumers.known.All() {
		for k.reading.Load() {
			runtime.Gosched()
		}
	}
}

func TestConsumers(t *testing.T) {
	alice, guest := database[0], database[1]
	both := kongtest.ConsumerList{alice, guest}
	type step struct {
		name   string
		after  time.Duration
		who    string
		db     kongtest.Consumers
		status int
		asked  int
		waits  int
	}
	seen := []step{
		{"first", 0, "alice", both, 200, 1, 3},
		{"first", 0, "guest", both, 200, 2, 3},
	}
	for name, steps := range map[string][]step{
		"kept for ten seconds, then read behind the answer": {
			{"kept", 9 * time.Second, "alice", both, 200, 0, 2},
			{"read again", 2 * time.Second, "alice", both, 200, 2, 2},
			{"kept again", 9 * time.Second, "alice", both, 200, 0, 2},
		},
		"deleted, while another is still found": {
			{"read again", 11 * time.Second, "alice", kongtest.ConsumerList{guest}, 200, 2, 2},
			{"gone", 0, "alice", kongtest.ConsumerList{guest}, 401, 0, 3},
			{"asked once a second", 2 * time.Second, "alice", kongtest.ConsumerList{guest}, 401, 2, 4},
			{"back", 2 * time.Second, "alice", both, 200, 2, 3},
		},
		"long unused and deleted": {
			{"asked before the answer", 2 * time.Minute, "alice", kongtest.ConsumerList{guest}, 401, 2, 4},
		},
		"the database is down": {
			{"read again", 11 * time.Second, "alice", kongtest.ConsumerList{}, 200, 2, 2},
			{"honoured", 2 * time.Minute, "alice", kongtest.ConsumerList{}, 200, 2, 3},
			{"not waited for while down", 0, "alice", kongtest.ConsumerList{}, 200, 2, 2},
			{"unknown", 0, "bob", kongtest.ConsumerList{}, 503, 2, 4},
			{"back", 20 * time.Second, "alice", both, 200, 2, 3},
			{"down too long", 2 * time.Hour, "alice", kongtest.ConsumerList{}, 503, 1, 4},
		},
		"never known, while another is found": {
			{"unknown", 0, "bob", both, 401, 2, 4},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLookups(t)
			for i, s := range slices.Concat(seen, steps) {
				l.clock.advance(s.after)
				status, username, asked, waits := l.find(s.who, s.db)
				got := []int{status, asked, waits}
				if diff := cmp.Diff([]int{s.status, s.asked, s.waits}, got); diff != "" {
					t.Errorf("step %d, %s: status, asked, waits: %s", i, s.name, diff)
				}
				if status == 200 && username != s.who {
					t.Errorf("step %d, %s: %q was found for %q", i, s.name, username, s.who)
				}
			}
		})
	}
}

func TestAConsumerThatIsTheOnlyOneIsHonouredWhenItCannotBeFound(t *testing.T) {
	l := newLookups(t)
	l.find("alice", database[:1])
	l.clock.advance(2 * time.Minute)
	if status, _, _, _ := l.find("alice", kongtest.ConsumerList{}); status != 200 {
		t.Errorf("status %d", status)
	}
	if !strings.Contains(l.in.Server.Stderr.String(), "reason=consumer_unknown consumer=alice") {
		t.Errorf("log: %s", l.in.Server.Stderr)
	}
}

func TestUsernamesAreOfOneWorkspace(t *testing.T) {
	if (reference{workspace: "a", username: "alice"}) == (reference{workspace: "b", username: "alice"}) {
		t.Error("consumers of two workspaces are mixed up")
	}
}
