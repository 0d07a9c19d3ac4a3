package credential

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var now = time.Unix(1_750_000_000, 0)

func record(change func(*Record)) *Record {
	r := &Record{AccessToken: "ac-1", Secret: Secret{Token: "right"}, Consumer: Consumer{Username: "alice"}}
	if change != nil {
		change(r)
	}
	return r
}

func TestSealKeepsWhatIsNoSecret(t *testing.T) {
	c := NewSealer().Seal("store", record(func(r *Record) {
		r.TTL, r.ExpiresAt = time.Minute, now
		r.Previous.Token, r.PreviousExpiresAt = "old", now
	}))
	want := &Credential{
		ID:        ID("store", "ac-1"),
		Consumer:  Consumer{Username: "alice"},
		TTL:       time.Minute,
		ExpiresAt: now,
	}
	if diff := cmp.Diff(want, c, cmpopts.IgnoreUnexported(Credential{})); diff != "" {
		t.Error(diff)
	}
	if got := c.Fingerprint(); got != Fingerprint(c.ID) {
		t.Errorf("Fingerprint() = %s", got)
	}
	if s := fmt.Sprintf("%+v %+v", c, c.terms); strings.Contains(s, "right") || strings.Contains(s, "old") {
		t.Errorf("a secret is in %s", s)
	}
}

func TestVerify(t *testing.T) {
	rotated := func(until time.Time) func(*Record) {
		return func(r *Record) { r.Previous.Token, r.PreviousExpiresAt = "old", until }
	}
	expires := func(at time.Time) func(*Record) { return func(r *Record) { r.ExpiresAt = at } }
	tests := []struct {
		name   string
		change func(*Record)
		secret string
		want   bool
	}{
		{"right", nil, "right", true},
		{"wrong", nil, "wrong", false},
		{"empty", nil, "", false},
		{"prefix", nil, "righ", false},
		{"longer", nil, "right ", false},
		{"other case", nil, "Right", false},
		{"longest", func(r *Record) { r.Secret.Token = strings.Repeat("s", 4096) }, strings.Repeat("s", 4096), true},
		{"too long", func(r *Record) { r.Secret.Token = strings.Repeat("s", 4097) }, strings.Repeat("s", 4097), false},
		{"expiring", expires(now.Add(1)), "right", true},
		{"expired now", expires(now), "right", false},
		{"expired long ago", expires(time.Unix(0, 0)), "right", false},
		{"previous in grace", rotated(now.Add(time.Hour)), "old", true},
		{"current in grace", rotated(now.Add(time.Hour)), "right", true},
		{"wrong in grace", rotated(now.Add(time.Hour)), "wrong", false},
		{"empty in grace", rotated(now.Add(time.Hour)), "", false},
		{"previous at its end", rotated(now), "old", false},
		{"current after the grace", rotated(now), "right", true},
		{"previous with seven days left", rotated(now.Add(7 * 24 * time.Hour)), "old", true},
		{"previous with more than seven days left", rotated(now.Add(7*24*time.Hour + 1)), "old", false},
		{"previous without an end", rotated(time.Time{}), "old", false},
		{"empty previous", func(r *Record) { r.PreviousExpiresAt = now.Add(time.Hour) }, "", false},
		{"previous of an expired pair", func(r *Record) { rotated(now.Add(time.Hour))(r); r.ExpiresAt = now }, "old", false},
	}
	for _, tt := range tests {
		for form, kept := range forms {
			t.Run(form+" "+tt.name, func(t *testing.T) {
				s, r := NewSealer(), record(tt.change)
				r.Secret, r.Previous = kept(r.Secret), kept(r.Previous)
				if got := s.Verify(s.Seal("store", r), "ac-1", tt.secret, now); got != tt.want {
					t.Errorf("Verify = %v, want %v", got, tt.want)
				}
			})
		}
	}
}

// forms are how a record may keep a secret token.
var forms = map[string]func(Secret) Secret{
	"plain":    func(s Secret) Secret { return s },
	"unsalted": func(s Secret) Secret { return hashOf(s, "") },
	"salted":   func(s Secret) Secret { return hashOf(s, "salt") },
	"both":     func(s Secret) Secret { return Secret{s.Token, hashOf(s, "salt").Hash} },
}

func hashOf(s Secret, salt string) Secret {
	if s.IsZero() {
		return s
	}
	h := Hash{Salt: salt}
	h.Digest = h.of(s.Token)
	return Secret{Hash: h}
}

// Whoever reads the store has the hash, and nothing that a client could send.
func TestHashIsNoSecretToken(t *testing.T) {
	for form, kept := range forms {
		r := record(nil)
		r.Secret = kept(r.Secret)
		s := NewSealer()
		c := s.Seal("store", r)
		h := r.Secret.Hash
		for _, secret := range []string{h.String(), h.Digest, hex.EncodeToString([]byte(h.Digest)), h.Salt + "right", h.Salt + h.Digest} {
			if secret != "right" && s.Verify(c, "ac-1", secret, now) {
				t.Errorf("%s: %q was accepted", form, secret)
			}
		}
	}
}

// Names of secrets may ignore case, and a client must not choose where its
// access token ends and its secret token begins.
func TestVerifyComparesTheAccessTokenExactly(t *testing.T) {
	s := NewSealer()
	c := s.Seal("store", record(nil))
	for _, pair := range [][2]string{{"AC-1", "right"}, {"ac-", "1right"}, {"ac-1r", "ight"}, {"", "ac-1right"}, {"ac-1\x00", "right"}} {
		if s.Verify(c, pair[0], pair[1], now) {
			t.Errorf("%q was accepted", pair)
		}
	}
}

func TestCredentialsOfAnotherSealerAreWorthless(t *testing.T) {
	c := NewSealer().Seal("store", record(nil))
	if NewSealer().Verify(c, "ac-1", "right", now) {
		t.Error("another key verified it")
	}
}

func TestSame(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"secret token":     func(r *Record) { r.Secret.Token = "new" },
		"consumer":         func(r *Record) { r.Consumer.Username = "bob" },
		"ttl":              func(r *Record) { r.TTL = time.Hour },
		"end":              func(r *Record) { r.ExpiresAt = now },
		"previous secret":  func(r *Record) { r.Previous.Token = "older" },
		"its end":          func(r *Record) { r.PreviousExpiresAt = now.Add(time.Minute) },
		"no previous":      func(r *Record) { r.Previous.Token = "" },
		"beginning":        func(r *Record) { r.NotBefore = now },
		"address":          func(r *Record) { r.AllowedIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")} },
		"group":            func(r *Record) { r.Groups = []string{"gold"} },
		"no groups":        func(r *Record) { r.Groups = []string{} },
		"form of secret":   func(r *Record) { r.Secret = hashOf(r.Secret, "") },
		"salt":             func(r *Record) { r.Secret = hashOf(r.Secret, "salt") },
		"form of previous": func(r *Record) { r.Previous = hashOf(r.Previous, "salt") },
	} {
		s := NewSealer()
		rotated := func(r *Record) { r.Previous.Token, r.PreviousExpiresAt = "old", now.Add(time.Hour) }
		a, b := s.Seal("store", record(rotated)), s.Seal("store", record(func(r *Record) { rotated(r); change(r) }))
		if !a.Same(s.Seal("store", record(rotated))) || a.Same(b) || b.Same(a) {
			t.Errorf("another %s makes no difference", name)
		}
	}
}

func TestStoredCredentialsAreOfUseWithTheirKeyOnly(t *testing.T) {
	for _, kept := range forms {
		first := NewSealer()
		r := record(func(r *Record) {
			r.TTL, r.ExpiresAt = time.Minute, now.Add(time.Hour)
			r.Previous.Token, r.PreviousExpiresAt = "old", now.Add(time.Minute)
			r.NotBefore, r.AllowedIPs, r.Groups = now, []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}, []string{"gold"}
		})
		r.Secret, r.Previous = kept(r.Secret), kept(r.Previous)
		kept := first.Seal("store", r)
		restored := kept.Stored().Credential()
		if diff := cmp.Diff(kept, restored, cmp.AllowUnexported(Credential{}, proof{}, hashed{}, terms{}), cmpopts.EquateComparable(netip.Prefix{})); diff != "" || !kept.Same(restored) {
			t.Error(diff)
		}
		second, err := RestoreSealer(first.Key())
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			sealer *Sealer
			secret string
			want   bool
		}{
			{second, "right", true}, {second, "old", true}, {second, "wrong", false},
			{NewSealer(), "right", false}, {NewSealer(), "old", false},
		} {
			if got := test.sealer.Verify(restored, "ac-1", test.secret, now); got != test.want {
				t.Errorf("Verify of %q = %v, want %v", test.secret, got, test.want)
			}
		}
	}
}

func TestSealersKeyIsNeverShown(t *testing.T) {
	s := NewSealer()
	if _, err := RestoreSealer(s.Key()[1:]); err == nil {
		t.Error("a key too short was taken")
	}
	if shown := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(shown, fmt.Sprint(s.Key())) {
		t.Error("printing a sealer prints its key")
	}
}

func TestEqualSecretsOfDifferentCredentialsHaveDifferentDigests(t *testing.T) {
	s := NewSealer()
	a := s.Seal("store", record(nil))
	b := s.Seal("store", record(func(r *Record) { r.AccessToken = "ac-2" }))
	if a.proof == b.proof {
		t.Error("the digests tell that the secrets are equal")
	}
}

// A million credentials must fit in 512 MiB with what the cache adds to each.
func TestCredentialIsCompact(t *testing.T) {
	if size := unsafe.Sizeof(Credential{}); size > 128 {
		t.Errorf("a Credential takes %d bytes beside its strings", size)
	}
}
