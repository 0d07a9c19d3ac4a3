package credential

import "testing"

// The ids are in logs, counters and rate limits of running systems: this
// pins them.
func TestIDIsTheSameForEver(t *testing.T) {
	const want = "6ce67129-6e1d-5f47-a674-47333b590bd6"
	if got := ID("hcv https://vault:8200 secret kong-auth", "ac-1"); got != want {
		t.Errorf("ID = %s, want %s", got, want)
	}
	if got := Fingerprint(want); got != "6ce671296e1d" {
		t.Errorf("Fingerprint = %s, want the first 12 digits", got)
	}
}

func TestIDDiffersByStoreAndByExactToken(t *testing.T) {
	seen := map[string][2]string{}
	for _, pair := range [][2]string{{"s", "ab"}, {"sa", "b"}, {"s", "AB"}, {"t", "ab"}, {"", "sab"}} {
		id := ID(pair[0], pair[1])
		if !isUUID(id) || id[14] != '5' {
			t.Errorf("ID%q = %s, which is no UUIDv5", pair, id)
		}
		if other, taken := seen[id]; taken {
			t.Errorf("%q and %q share an id", pair, other)
		}
		seen[id] = pair
	}
}

func TestFingerprintOfWhatIsNoID(t *testing.T) {
	for _, s := range []string{"", "-", "abc-def"} {
		if got := Fingerprint(s); got != "" {
			t.Errorf("Fingerprint(%q) = %q, want none", s, got)
		}
	}
}
