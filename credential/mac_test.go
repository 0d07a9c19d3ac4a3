//go:build !race

package credential

import "testing"

// Under the race detector, pools forget what they hold.
func TestVerifyingAllocatesNothing(t *testing.T) {
	s := NewSealer()
	c := s.Seal("store", record(nil))
	if n := testing.AllocsPerRun(100, func() {
		if !s.Verify(c, "ac-1", "right", now) {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
