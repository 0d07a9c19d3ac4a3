package cache

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// A restart empties the cache while tokens are being guessed: nobody who has a
// right to be there may pay for it.
func TestNoClientIsLimitedWhenTheCacheIsEmptyInAFlood(t *testing.T) {
	const guesses = 10_000 / scale // a second
	for name, test := range map[string]struct {
		clients, arriving int // in all, and a second
		addresses         int // of clients
		attackers         int // addresses of guesses
		ahead             time.Duration
	}{
		"many addresses": {clients: 20_000 / scale, arriving: 5_000, addresses: 20_000 / scale, attackers: 300 / scale},
		// So many can be told from clients as soon as they have guessed a few times.
		"very many guess":    {clients: 20_000 / scale, arriving: 5_000, addresses: 20_000 / scale, attackers: 5_000 / scale, ahead: 2 * time.Second},
		"behind one address": {clients: 1_000, arriving: 500, addresses: 1, attackers: 200 / scale},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.take(5 * time.Millisecond)
				for i := range test.clients {
					r.put(fmt.Sprint("client", i), "s")
				}
				lasting := time.Duration(test.clients/test.arriving) * time.Second
				flood := r.flood(guesses, test.ahead+lasting, func(i int) string { return fmt.Sprint("attacker", i%test.attackers) })
				time.Sleep(test.ahead)
				var mu sync.Mutex
				got, slowest := map[string]int{}, time.Duration(0)
				var wg sync.WaitGroup
				for i := range test.clients {
					wg.Go(func() {
						a := r.claim(r.p, fmt.Sprint("client", i), from(fmt.Sprint("address", i%test.addresses), "s"))
						mu.Lock()
						defer mu.Unlock()
						got[a.Got]++
						slowest = max(slowest, a.Took)
					})
					time.Sleep(time.Second / time.Duration(test.arriving))
				}
				wg.Wait()
				flood.Wait()
				if got["s loaded"] != test.clients {
					t.Errorf("%v, want all %d loaded", got, test.clients)
				}
				t.Logf("the slowest waited for %s", slowest)
			})
		})
	}
}

// More come to an empty cache from behind one address than the store can take.
func TestACrowdBehindOneAddressKeepsNobodyOut(t *testing.T) {
	bubble(t, func(r *rig) {
		r.take(50 * time.Millisecond) // 64 at a time: 1,280 a second
		var wg sync.WaitGroup
		for i := range 16_000 / scale { // 2,000 a second, for longer than the queue takes to fill
			ask := func(key, address string) (got answer) {
				r.put(key, "s")
				return r.claim(r.p, key, from(address, "s"))
			}
			wg.Go(func() { ask(fmt.Sprint("office", i), "office") })
			if i%20 == 0 {
				wg.Go(func() {
					if got := ask(fmt.Sprint("client", i), fmt.Sprint("address", i)); got.Got != "s loaded" {
						t.Errorf("client %d: %v", i, got)
					}
				})
			}
			time.Sleep(time.Second / 2000)
		}
		wg.Wait()
	})
}

// One client whose access was ended keeps trying, from an address that it shares.
func TestAStrayClientDoesNotMakeGuessersOfItsNeighbours(t *testing.T) {
	bubble(t, func(r *rig) {
		r.take(5 * time.Millisecond)
		for range 300 {
			r.claim(r.p, "stray", from("office", "s"))
			time.Sleep(time.Second)
		}
		flood := r.flood(10_000/scale, 4*time.Second, func(i int) string { return fmt.Sprint("attacker", i%(1000/scale)) })
		time.Sleep(2 * time.Second)
		var wg sync.WaitGroup
		for i := range 200 {
			key := fmt.Sprint("client", i)
			r.put(key, "s")
			wg.Go(func() {
				if got := r.claim(r.p, key, from("office", "s")); got.Got != "s loaded" {
					t.Errorf("%s: %v", key, got)
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		wg.Wait()
		flood.Wait()
	})
}
