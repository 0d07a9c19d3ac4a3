package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestMassRevocationThatIsMeantIsThrough: the plugin holds back what would drop
// most of its records, and must still find out that all of them are gone.
func TestMassRevocationThatIsMeantIsThrough(t *testing.T) {
	const n, parallel = 1500, 16
	w := newEnv(t)
	all := make([]pair, n)
	each := func(do func(i int)) {
		var workers sync.WaitGroup
		for first := range parallel {
			workers.Go(func() {
				for i := first; i < n; i += parallel {
					do(i)
				}
			})
		}
		workers.Wait()
	}
	each(func(i int) { all[i] = w.credential(nil) })
	// All come from one address, whose share of lookups that find nothing would be
	// used up if it asked for the same again and again.
	g := w.start(w.guarded("/", object{"hcv": w.hcv(object{"ttl": 1, "neg_ttl": 60})}))
	count := func() map[int]int {
		var mu sync.Mutex
		answers := map[int]int{}
		each(func(i int) {
			status := w.ask(g, all[i]).Status
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
		return answers
	}
	if got := count(); got[200] != n {
		t.Fatalf("before: %v", got)
	}

	each(func(i int) { w.must(w.vault.Delete(t.Context(), w.kv, all[i].access)) })
	began, rounds := time.Now(), []string{}
	eventually(t, "all are refused", func() bool {
		got := count()
		rounds = append(rounds, fmt.Sprint(got))
		return got[401] == n
	})
	t.Logf("%d revoked at once, through after %s; answers round by round: %v", n, time.Since(began).Round(time.Millisecond), rounds)
}
