package credential

import (
	"encoding/json"
	"strings"
	"testing"
)

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

func TestNamingAgreesWithID(t *testing.T) {
	for _, store := range []string{"", "store", `["hcv","http://127.0.0.1:8200"]`} {
		for _, token := range []string{"", "a", "ac-alice", strings.Repeat("x", MaxAccessToken), strings.Repeat("long ", 100)} {
			if got, want := NewNaming(store).ShortID(token).String(), Fingerprint(ID(store, token)); got != want {
				t.Errorf("%q of %q: %s, want %s", token, store, got, want)
			}
		}
	}
	c := &Credential{ID: ID("store", "ac-alice")}
	if c.ShortID() != NewNaming("store").ShortID("ac-alice") {
		t.Errorf("%s", c.ShortID())
	}
	if NewNaming("store").Store() == NewNaming("other").Store() {
		t.Error("two stores have one name")
	}
}

func TestNamingAllocatesNothing(t *testing.T) {
	n, token, want := NewNaming("store"), strings.Repeat("x", MaxAccessToken), NewNaming("store").ShortID("y")
	if allocs := testing.AllocsPerRun(100, func() {
		if n.ShortID(token) == want {
			t.Error("two tokens have one name")
		}
	}); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestParseFingerprint(t *testing.T) {
	for text, want := range map[string]bool{
		"0123456789ab": true, "000000000000": true,
		"": false, "0123456789a": false, "0123456789abc": false, "0123456789abcd": false, "0123456789AB": false, "0123456789ag": false, "0123456789-b": false,
	} {
		s, err := ParseFingerprint(text)
		if (err == nil) != want || IsFingerprint(text) != want || want && s.String() != text {
			t.Errorf("%q: %v, %v", text, s, err)
		}
		if err != nil && text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats %q: %v", text, err)
		}
	}
}

func TestShortIDInJSON(t *testing.T) {
	in := NewNaming("store").ShortID("ac-alice")
	b, err := json.Marshal([]ShortID{in})
	if err != nil {
		t.Fatal(err)
	}
	var out []ShortID
	if err := json.Unmarshal(b, &out); err != nil || len(out) != 1 || out[0] != in {
		t.Errorf("%s became %v, %v", b, out, err)
	}
	if err := json.Unmarshal([]byte(`["xyz"]`), &out); err == nil {
		t.Error("no error")
	}
}
