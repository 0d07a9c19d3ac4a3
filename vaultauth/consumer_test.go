package vaultauth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/clock"
	"kong-vault-auth/kongstatus"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
)

// kongNode is Kong as far as consumers are concerned, in a synctest bubble.
type kongNode struct {
	consumers *consumers
	log       servertest.Buffer
	wall      atomic.Int64 // how far the wall clock was set forward
	reads     atomic.Int64 // of the database
	asks      atomic.Int64 // of the Status API

	mu     sync.Mutex      // guards the rest
	rows   map[string]bool // "workspace/username"
	down   bool            // every read fails
	hangs  time.Duration   // every read fails after this
	status statusFunc      // nil tells the truth, as long as the database doesn't hang
}

// newKong is a Kong with these consumers.
func newKong(t *testing.T, usernames ...string) *kongNode {
	kong := &kongNode{rows: map[string]bool{}}
	for _, name := range usernames {
		kong.rows[name] = true
	}
	cs := newConsumers(time.Hour, slog.New(pluginserver.NewLog(&kong.log, slog.LevelDebug)))
	system := cs.now
	cs.now = func() clock.Instant {
		now := system()
		return clock.Instant{Mono: now.Mono, Wall: now.Wall + kong.wall.Load()}
	}
	cs.database.now = cs.now
	kong.consumers = cs
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	cs.database.useStatus(ctx, func(ctx context.Context) (kongstatus.Status, error) {
		kong.asks.Add(1)
		kong.mu.Lock()
		status, down := kong.status, kong.down
		kong.mu.Unlock()
		if status != nil {
			return status(ctx)
		}
		return kongstatus.Status{DatabaseReachable: !down, Version: "3.9.1"}, nil
	})
	synctest.Wait()
	kong.asks.Store(0)
	return kong
}

func (kong *kongNode) set(change func()) {
	kong.mu.Lock()
	defer kong.mu.Unlock()
	change()
}

// event is one event on Kong's side: it finds consumers of its workspace.
type event struct {
	kong      *kongNode
	workspace string
}

func (e *event) LoadConsumer(name string, _ bool) (*pluginserver.Consumer, error) {
	return e.kong.read(e.workspace + "/" + name), nil
}

func (kong *kongNode) read(row string) *pluginserver.Consumer {
	kong.reads.Add(1)
	kong.mu.Lock()
	found, hangs := kong.rows[row] && !kong.down && kong.hangs == 0, kong.hangs
	kong.mu.Unlock()
	time.Sleep(max(hangs, time.Millisecond))
	if !found {
		return nil
	}
	_, name, _ := strings.Cut(row, "/")
	return &pluginserver.Consumer{ID: "id-of-" + row, Username: name}
}

// find makes a request of a consumer's, "workspace/username", and returns the
// status of the answer.
func (kong *kongNode) find(row string) (status int) {
	workspace, name, _ := strings.Cut(row, "/")
	c, err := kong.consumers.find(&event{kong: kong, workspace: workspace}, reference{workspace: workspace, username: name})
	switch {
	case errors.Is(err, errConsumerGone):
		return 401
	case errors.Is(err, errDatabase):
		return 503
	case err != nil || c.ID != "id-of-"+row:
		return 500
	}
	return 200
}

// What a step can change.
var (
	unseen      = func(kong *kongNode) { kong.rows["a/bob"] = true }
	deleteAlice = func(kong *kongNode) { kong.rows["a/alice"] = false }
	createAlice = func(kong *kongNode) { kong.rows["a/alice"] = true }
	databaseOff = func(kong *kongNode) { kong.down = true }
	databaseOn  = func(kong *kongNode) { kong.down = false }
	wallBack    = func(kong *kongNode) { kong.wall.Store(int64(-3 * time.Hour)) }
	wallAhead   = func(kong *kongNode) { kong.wall.Store(int64(3 * time.Hour)) }
	statusFails = func(kong *kongNode) {
		kong.status = func(context.Context) (kongstatus.Status, error) {
			return kongstatus.Status{}, errors.New("connection refused")
		}
	}
	statusOff = func(kong *kongNode) {
		db := kong.consumers.database
		db.mu.Lock()
		defer db.mu.Unlock()
		db.status = nil
	}
)

func TestConsumers(t *testing.T) {
	type step struct {
		after  time.Duration
		change func(*kongNode)
		who    string
		status int
		reads  int64
	}
	alice := step{0, nil, "a/alice", 200, 1}
	guest := step{0, nil, "a/guest", 200, 1}
	for name, steps := range map[string][]step{
		"read every ten seconds": {
			alice,
			{9 * time.Second, nil, "a/alice", 200, 0},
			{2 * time.Second, nil, "a/alice", 200, 1},
			{9 * time.Second, nil, "a/alice", 200, 0},
		},
		"deleted, another was never seen": {
			alice,
			{time.Second, unseen, "a/alice", 200, 0},
			{0, deleteAlice, "a/alice", 200, 0},
			{9 * time.Second, nil, "a/alice", 401, 1},
			{900 * time.Millisecond, nil, "a/alice", 401, 0},
			{time.Second, nil, "a/alice", 401, 1},
			{time.Second, createAlice, "a/alice", 200, 1},
		},
		"deleted, there was no other": {
			alice,
			{10 * time.Second, deleteAlice, "a/alice", 401, 1},
		},
		"deleted while idle": {
			alice,
			{20 * time.Minute, deleteAlice, "a/alice", 401, 1},
		},
		"deleted while the wall clock is set back": {
			alice,
			{0, wallBack, "a/alice", 200, 0},
			{10 * time.Second, deleteAlice, "a/alice", 401, 1},
		},
		"deleted while the wall clock is set forward": {
			alice,
			{0, deleteAlice, "a/alice", 200, 0},
			{0, wallAhead, "a/alice", 401, 1},
		},
		"known while the wall clock is set forward": {
			alice,
			{0, wallAhead, "a/alice", 200, 1},
			{9 * time.Second, nil, "a/alice", 200, 0},
		},
		"the database is down": {
			alice,
			{10 * time.Second, databaseOff, "a/alice", 200, 1},
			{time.Minute, nil, "a/alice", 200, 0},
			{0, nil, "a/guest", 503, 0},
			{30 * time.Minute, nil, "a/alice", 200, 0},
			{0, databaseOn, "a/alice", 200, 0},
			{5 * time.Second, nil, "a/alice", 200, 1},
			{0, nil, "a/guest", 200, 1},
		},
		"the database is down too long": {
			alice,
			{10 * time.Second, databaseOff, "a/alice", 200, 1},
			{time.Hour, nil, "a/alice", 503, 0},
			{5 * time.Second, databaseOn, "a/alice", 503, 0},
			{5 * time.Second, nil, "a/alice", 200, 1},
		},
		"the database is down while the wall clock is set back": {
			alice,
			{10 * time.Second, databaseOff, "a/alice", 200, 1},
			{0, wallBack, "a/alice", 200, 0},
			{5 * time.Second, databaseOn, "a/alice", 200, 0},
			{5 * time.Second, nil, "a/alice", 200, 1},
		},
		"the database is down when an idle consumer comes": {
			alice,
			{20 * time.Minute, databaseOff, "a/alice", 200, 1},
		},
		"a record names nobody": {
			{0, nil, "a/nobody", 401, 1},
			{0, nil, "a/nobody", 401, 0},
			alice,
			{time.Second, nil, "a/nobody", 401, 1},
		},
		"a record names nobody, nothing but the Status API can tell": {
			alice,
			{0, nil, "a/nobody", 401, 1},
		},
		"a record names nobody, first of all, without the Status API": {
			{0, statusOff, "a/nobody", 401, 1},
		},
		"a record names nobody, first of all, and the Status API fails": {
			{0, statusFails, "a/nobody", 401, 1},
		},
		"the database is down from the start": {
			{0, databaseOff, "a/alice", 503, 1},
			{time.Second, nil, "a/alice", 503, 0},
			{10 * time.Second, databaseOn, "a/alice", 503, 0},
			{5 * time.Second, nil, "a/alice", 200, 1},
		},
		"deleted, the Status API fails, another is found": {
			alice, guest,
			{0, statusFails, "a/alice", 200, 0},
			{10 * time.Second, deleteAlice, "a/alice", 401, 2},
		},
		"deleted, without the Status API, another is found": {
			alice, guest,
			{0, statusOff, "a/alice", 200, 0},
			{10 * time.Second, deleteAlice, "a/alice", 401, 2},
			{0, nil, "a/guest", 200, 0},
		},
		"a record names nobody, without the Status API, another is found": {
			alice,
			{0, statusOff, "a/nobody", 401, 2},
		},
		"deleted, without the Status API, nobody else is found": {
			alice,
			{0, statusOff, "a/alice", 200, 0},
			{10 * time.Second, deleteAlice, "a/alice", 200, 1},
			{9 * time.Second, nil, "a/alice", 200, 0},
			{time.Hour, nil, "a/alice", 503, 1},
		},
		"a consumer of another workspace tells nothing": {
			alice,
			{0, nil, "b/guest", 200, 1},
			{0, statusOff, "a/alice", 200, 0},
			{10 * time.Second, deleteAlice, "a/alice", 200, 1},
		},
		"the database is down, without the Status API": {
			alice, guest,
			{0, statusOff, "a/alice", 200, 0},
			{10 * time.Second, databaseOff, "a/alice", 200, 2},
			{9 * time.Second, nil, "a/alice", 200, 0},
			{time.Minute, nil, "a/alice", 200, 2},
			{0, nil, "a/bob", 503, 2},
			{0, databaseOn, "a/bob", 401, 2},
			{10 * time.Second, nil, "a/alice", 200, 1},
			{0, deleteAlice, "a/alice", 200, 0},
			{10 * time.Second, nil, "a/alice", 401, 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kong := newKong(t, "a/alice", "a/guest", "b/guest")
				for i, s := range steps {
					time.Sleep(s.after)
					if s.change != nil {
						kong.set(func() { s.change(kong) })
					}
					kong.reads.Store(0)
					status := kong.find(s.who)
					if reads := kong.reads.Load(); status != s.status || reads != s.reads {
						t.Errorf("step %d, %s: %d after %d reads, want %d after %d", i, s.who, status, reads, s.status, s.reads)
					}
				}
				if t.Failed() {
					t.Log(kong.log.String())
				}
			})
		})
	}
}

// TestConsumerThatDoesNotExistIsExplained: in one line.
func TestConsumerThatDoesNotExistIsExplained(t *testing.T) {
	wrong := `ERROR the record of a credential names a consumer that does not exist in Kong, or no longer, requests are answered 401: create the consumer, or correct the record, which credential list --consumer finds reason=consumer_gone consumer=nobody`
	for name, tt := range map[string]struct {
		change func(*kongNode)
		who    []string
		want   string
	}{
		"the first of all":                         {nil, []string{"a/nobody", "a/nobody"}, wrong},
		"the first of all, without the Status API": {statusOff, []string{"a/nobody"}, wrong},
		"while others are found":                   {nil, []string{"a/alice", "a/nobody"}, wrong},
		"the database is down": {databaseOff, []string{"a/nobody"},
			`ERROR Kong could not say whether a consumer exists; known ones are accepted meanwhile reason=consumer_unknown consumer=nobody err="the Status API says that Kong can't reach its database"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kong := newKong(t, "a/alice")
				if tt.change != nil {
					kong.set(func() { tt.change(kong) })
				}
				for _, who := range tt.who {
					kong.find(who)
				}
				if diff := cmp.Diff(tt.want+"\n", kong.log.String()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestDatabaseThatHangs: requests that keep coming wait for it one at a time,
// once per pause.
func TestDatabaseThatHangs(t *testing.T) {
	const timeout = 5 * time.Second // pg_timeout
	for name, tt := range map[string]struct {
		status statusFunc
		slow   int // requests in ten minutes
	}{
		// Pauses of 8, 16 and then 30 s.
		"the Status API has an old connection": {func(context.Context) (kongstatus.Status, error) {
			return kongstatus.Status{DatabaseReachable: true}, nil
		}, 18},
		"the Status API fails": {func(context.Context) (kongstatus.Status, error) {
			return kongstatus.Status{}, errors.New("connection refused")
		}, 18},
		"the Status API notices": {func(context.Context) (kongstatus.Status, error) {
			time.Sleep(timeout)
			return kongstatus.Status{}, nil
		}, 1},
		"the Status API hangs as well": {func(ctx context.Context) (kongstatus.Status, error) {
			<-ctx.Done()
			return kongstatus.Status{}, ctx.Err()
		}, 18},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var names []string
				for i := range 10 {
					names = append(names, fmt.Sprintf("a/client-%d", i))
				}
				kong := newKong(t, names...)
				for _, name := range names {
					kong.find(name)
				}
				kong.set(func() { kong.hangs, kong.status = timeout, tt.status })
				var mu sync.Mutex
				times := map[time.Duration]int{}
				var clients sync.WaitGroup
				end := time.Now().Add(10 * time.Minute)
				for _, name := range names {
					clients.Go(func() {
						for time.Now().Before(end) {
							began := time.Now()
							if status := kong.find(name); status != 200 {
								t.Errorf("%s: %d", name, status)
							}
							mu.Lock()
							times[time.Since(began)]++
							mu.Unlock()
							time.Sleep(500 * time.Millisecond)
						}
					})
				}
				clients.Wait()
				if times[timeout] != tt.slow {
					t.Errorf("%d requests have waited for the database, want %d", times[timeout], tt.slow)
				}
				delete(times, timeout)
				if longest := slices.Max(slices.Collect(maps.Keys(times))); longest > patience {
					t.Errorf("another request has taken %v", longest)
				}

				kong.set(func() {
					kong.hangs, kong.status = 0, nil
					delete(kong.rows, names[0])
				})
				time.Sleep(maxPause)
				if status := kong.find(names[0]); status != 401 {
					t.Errorf("deleted meanwhile, and %d", status)
				}
			})
		})
	}
}

// TestManyConsumersAreReadInTime: reads of known consumers are one at a time,
// but nobody is honoured for longer, or waits for long, because there are many.
func TestManyConsumersAreReadInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 2000 {
			names = append(names, fmt.Sprintf("a/client-%d", i))
		}
		kong := newKong(t, names...)
		for _, name := range names {
			kong.find(name)
		}
		time.Sleep(consumerFresh)
		kong.set(func() { clear(kong.rows) })
		var clients sync.WaitGroup
		for _, name := range names {
			clients.Go(func() {
				began := time.Now()
				if status := kong.find(name); status != 401 {
					t.Errorf("%s was deleted, and %d", name, status)
				}
				// A read takes 1 ms.
				if took := time.Since(began); took > patience+2*time.Millisecond {
					t.Errorf("%s was answered after %v", name, took)
				}
			})
		}
		clients.Wait()
	})
}

// TestRequestsDoNotWaitForTheStatusAPI for longer than their patience, and not
// for one that is known to be silent.
func TestRequestsDoNotWaitForTheStatusAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kong := newKong(t, "a/alice")
		kong.find("a/alice")
		kong.set(func() {
			kong.status = func(ctx context.Context) (kongstatus.Status, error) {
				<-ctx.Done()
				return kongstatus.Status{}, ctx.Err()
			}
			kong.rows["a/alice"] = false
		})
		time.Sleep(consumerFresh)
		waited := map[time.Duration]int{}
		for range 16 {
			began := time.Now()
			if status := kong.find("a/nobody"); status != 503 {
				t.Errorf("unknown, and %d", status)
			}
			if status := kong.find("a/alice"); status != 200 {
				t.Errorf("known, and %d", status)
			}
			waited[time.Since(began).Truncate(patience)]++
			time.Sleep(time.Second)
		}
		// It is asked again after statusPause.
		if diff := cmp.Diff(map[time.Duration]int{0: 14, patience: 2}, waited); diff != "" {
			t.Error(diff)
		}
	})
}

// TestStatusAPIIsAskedOnlyWhenNeeded, and by one request for all.
func TestStatusAPIIsAskedOnlyWhenNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kong := newKong(t, "a/alice")
		for range 10 {
			kong.find("a/alice")
			time.Sleep(consumerFresh)
		}
		if n := kong.asks.Load(); n != 0 {
			t.Errorf("asked %d times without need", n)
		}
		var clients sync.WaitGroup
		for i := range 100 {
			clients.Go(func() { kong.find(fmt.Sprintf("a/nobody-%d", i)) })
		}
		clients.Wait()
		if n := kong.asks.Load(); n != 1 {
			t.Errorf("asked %d times by 100 requests", n)
		}
		time.Sleep(consumerFresh)
		kong.set(func() { kong.down = true })
		kong.find("a/alice")
		kong.asks.Store(0)
		time.Sleep(time.Minute)
		if n := kong.asks.Load(); n < 10 || n > 15 {
			t.Errorf("asked %d times in a minute of the database being down", n)
		}
		kong.set(func() { kong.down = false })
		time.Sleep(databaseDown)
		kong.asks.Store(0)
		time.Sleep(time.Hour)
		if n := kong.asks.Load(); n != 0 {
			t.Errorf("asked %d times after it was back", n)
		}
	})
}

func TestKongThatFailsOpenIsReported(t *testing.T) {
	const line = "ERROR this Kong lets requests through unauthenticated when its plugin server fails or is too late: upgrade to Kong 3.8 or newer reason=kong_version kong="
	for version, want := range map[string]string{"3.7.1": line + "3.7.1\n", "3.8.0": "", "3.9.1": "", "": ""} {
		synctest.Test(t, func(t *testing.T) {
			var log servertest.Buffer
			db := newDatabaseState(clock.System(), slog.New(pluginserver.NewLog(&log, slog.LevelDebug)))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var tries atomic.Int64
			db.useStatus(ctx, func(context.Context) (kongstatus.Status, error) {
				if tries.Add(1) < 5 { // Kong starts later
					return kongstatus.Status{}, errors.New("connection refused")
				}
				return kongstatus.Status{DatabaseReachable: true, Version: version}, nil
			})
			time.Sleep(time.Hour)
			if got := log.String(); got != want || tries.Load() != 5 {
				t.Errorf("%q: %q after %d tries", version, got, tries.Load())
			}
			db.reachable(db.now().Mono)
			if got := log.String(); got != want {
				t.Errorf("%q: asked again: %q", version, got)
			}
		})
	}
}

func TestUsernamesAreOfOneWorkspace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kong := newKong(t, "a/alice", "b/alice")
		for _, who := range []string{"a/alice", "b/alice", "c/alice"} {
			want := 200
			if who == "c/alice" {
				want = 401
			}
			if got := kong.find(who); got != want {
				t.Errorf("%s: %d", who, got)
			}
		}
	})
}

// TestSlowAnswerDoesNotUndoANewerOne: reads of one consumer can overtake each
// other.
func TestSlowAnswerDoesNotUndoANewerOne(t *testing.T) {
	cs := newConsumers(time.Hour, slog.New(slog.DiscardHandler))
	ref := reference{workspace: "a", username: "alice"}
	earlier := cs.now()
	later := clock.Instant{Mono: earlier.Mono + 1, Wall: earlier.Wall + 1}
	cs.keep(&knownConsumer{ref: ref, read: later})
	cs.keep(&knownConsumer{ref, &pluginserver.Consumer{ID: "id"}, earlier, earlier})
	if c, err := cs.find((*pluginserver.Event)(nil), ref); !errors.Is(err, errConsumerGone) {
		t.Errorf("%v, %v", c, err)
	}
}

func TestMemoryAnswersWithoutAllocating(t *testing.T) {
	cs := newConsumers(time.Hour, slog.New(slog.DiscardHandler))
	ref := reference{workspace: "a", username: "alice"}
	now := cs.now()
	cs.keep(&knownConsumer{ref, &pluginserver.Consumer{ID: "id"}, now, now})
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := cs.find((*pluginserver.Event)(nil), ref); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
