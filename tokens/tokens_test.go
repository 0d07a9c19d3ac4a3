package tokens

import "testing"

func TestSpellingsOfOneHeaderAreTheSame(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"access_token", "Access-Token", true},
		{"X_Consumer-ID", "x-consumer_id", true},
		{"access_token", "accesstoken", false},
		{"access_token", "access_tokem", false},
		{"K", "\u212a", false}, // the Kelvin sign, whose lower case is k
		{"caf\xe9", "CAF\xe9", true},
		{"", "", true},
	} {
		if got := SameHeader(test.a, test.b); got != test.same {
			t.Errorf("SameHeader(%q, %q) = %v, want %v", test.a, test.b, got, test.same)
		}
	}
}

func TestSameHeaderDoesNotAllocate(t *testing.T) {
	same := true
	n := testing.AllocsPerRun(100, func() { same = same && SameHeader("X_Consumer_Username", "x-consumer-username") })
	if !same || n != 0 {
		t.Errorf("same: %v, with %v allocations, want none", same, n)
	}
}
