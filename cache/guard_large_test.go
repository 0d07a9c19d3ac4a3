//go:build !race

package cache

import (
	"fmt"
	"testing"
	"time"
)

// It makes more goroutines than the race detector can follow.
func TestRevocationOf100000IsThroughInAMinute(t *testing.T) {
	const n = 100_000
	bubble(t, func(r *rig) {
		for i := range n {
			k := fmt.Sprint(i)
			r.Restore(Item[string]{Key: k, Name: k, Found: Found[string]{Value: "s"}, ReadAt: time.Now().Add(-time.Second)}, r.p)
		}
		r.take(30 * time.Millisecond)
		r.Retain(r.p, time.Now(), func(string) bool { return false })
		time.Sleep(time.Minute)
		if left := r.Stats().Entries; left != 0 {
			t.Errorf("%d are left", left)
		}
		r.looked()
	})
}
