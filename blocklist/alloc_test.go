//go:build !race

package blocklist

import (
	"testing"
	"time"
)

// Under the race detector, pools forget what they hold.
func TestChecksCostNoAllocation(t *testing.T) {
	n := newNode(t)
	l := n.open()
	l.now = time.Now
	n.add(l, alice, carol, token(n, l, "ac-bob"))
	if allocs := testing.AllocsPerRun(100, func() {
		if l.Credential(store, lengthy) || l.Consumer("some-id", "somebody") || !l.Credential(store, "ac-bob") {
			t.Error("wrong")
		}
	}); allocs > 0.1 {
		t.Errorf("%v allocations", allocs)
	}
}
