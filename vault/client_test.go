package vault

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// from is a client with an address.
type from string

func (f from) Address() string { return string(f) }

func TestSources(t *testing.T) {
	for address, want := range map[string]struct{ source, shown string }{
		"192.0.2.7":              {"192.0.2.7", "192.0.2.7"},
		"::ffff:192.0.2.7":       {"192.0.2.7", "192.0.2.7"},
		"2001:db8:1:2:3:4:5:6":   {"2001:db8:1:2::/64", "2001:db8:1:2:3:4:5:6"},
		"2001:DB8:1:2::9":        {"2001:db8:1:2::/64", "2001:db8:1:2::9"},
		"fe80::1%eth0":           {"fe80::/64", "fe80::1"},
		"":                       {"", "unknown"},
		"unix:":                  {"", "unknown"},
		"192.0.2.7, 192.0.2.8":   {"", "unknown"},
		"192.0.2.7\nforged line": {"", "unknown"},
	} {
		if s, n := source(from(address)), addressText(from(address)); s != want.source || n != want.shown {
			t.Errorf("%q: source %q, shown %q", address, s, n)
		}
	}
	if s, n := source(nil), addressText(nil); s != "" || n != "unknown" {
		t.Errorf("nobody: source %q, shown %q", s, n)
	}
}

func FuzzSources(f *testing.F) {
	f.Add("192.0.2.7")
	f.Add("fe80::1%eth0\n")
	f.Fuzz(func(t *testing.T, address string) {
		for _, s := range []string{source(from(address)), addressText(from(address))} {
			for _, c := range s {
				if c < ' ' || len(s) > 64 {
					t.Errorf("%q becomes %q", address, s)
				}
			}
		}
	})
}

// One client address gets a tenth of the permits for tokens never seen, whatever
// it sends, and an IPv6 client has no more of them for its many addresses.
func TestFloodFromOneAddressLeavesRoomForOthers(t *testing.T) {
	for name, flooder := range map[string]func(i int) from{
		"IPv4": func(int) from { return "192.0.2.7" },
		"IPv6": func(i int) from { return from(fmt.Sprintf("2001:db8::%x", i)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, store := object(t, &logbook{}, func(c *HCV) { c.MaxLookupsPerSecond = 20 })
				var refused atomic.Int64
				var flood sync.WaitGroup
				for i := range 200 {
					flood.Go(func() {
						if _, err := o.Lookup(t.Context(), fmt.Sprintf("flood-%d", i), "s", flooder(i)); errors.Is(err, ErrRefused) {
							refused.Add(1)
						}
					})
				}
				synctest.Wait()
				if n := store.readCount(); n > 2 {
					t.Errorf("%d reads at once for one address", n)
				}
				for i := range 10 {
					if _, err := o.Lookup(t.Context(), fmt.Sprintf("other-%d", i), "s", from("198.51.100.1")); !errors.Is(err, ErrRefused) && i < 2 {
						t.Errorf("another client: %v", err)
					}
				}
				flood.Wait()
				if n := refused.Load(); n == 0 || n > 10 {
					t.Errorf("%d of the flood were looked up", n)
				}
			})
		})
	}
}

// asked counts how often its address was asked for.
type asked struct{ times int }

func (a *asked) Address() string {
	a.times++
	return "192.0.2.7"
}

func TestAddressIsAskedForOnAMissOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := object(t, &logbook{}, nil, alice())
		client := &asked{}
		lookup := func(secret string) bool {
			time.Sleep(time.Second) // so that no two lookups are at the same instant
			client.times = 0
			_, _ = o.Lookup(t.Context(), "ac-alice", secret, client)
			return client.times > 0
		}
		for i, step := range []struct {
			secret string
			want   bool
		}{
			{"right", true}, // never seen
			{"right", false},
			{"wrong", true}, // looked up once more
			{"wrong", false},
			{"right", false},
		} {
			if got := lookup(step.secret); got != step.want {
				t.Errorf("step %d, %s: asked %v", i, step.secret, got)
			}
		}
	})
}
