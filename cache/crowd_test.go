package cache

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// A restart empties the cache while tokens are being guessed: nobody who has a
// right to be there may pay for it. Guessers from very many addresses can be told
// from clients as soon as they have guessed a few times.
func TestNoClientIsLimitedWhenTheCacheIsEmptyInAFlood(t *testing.T) {
	const (
		clients  = 20_000
		arriving = 5_000  // a second
		guesses  = 10_000 // a second
	)
	for attackers, ahead := range map[int]time.Duration{300: 0, 5000: 2 * time.Second} {
		t.Run(fmt.Sprintf("from %d addresses, for %s", attackers, ahead), func(t *testing.T) {
			bubble(t, func(r *rig) {
				r.take(5 * time.Millisecond)
				for i := range clients {
					r.put(fmt.Sprint("client", i), "s")
				}
				flood := r.flood(guesses, ahead+clients/arriving*time.Second, func(i int) string { return fmt.Sprint("attacker", i%attackers) })
				time.Sleep(ahead)
				var mu sync.Mutex
				got, slowest := map[string]int{}, time.Duration(0)
				var wg sync.WaitGroup
				for i := range clients {
					wg.Go(func() {
						claim := claimOf("s")
						claim.Source = func() string { return fmt.Sprint("address", i) }
						a := r.claim(r.p, fmt.Sprint("client", i), claim)
						mu.Lock()
						defer mu.Unlock()
						got[a.Got]++
						slowest = max(slowest, a.Took)
					})
					time.Sleep(time.Second / arriving)
				}
				wg.Wait()
				flood.Wait()
				if got["s loaded"] != clients {
					t.Errorf("%v, want all %d loaded", got, clients)
				}
				t.Logf("the slowest waited for %s", slowest)
			})
		})
	}
}
