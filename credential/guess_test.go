package credential

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestWhatLooksGenerated(t *testing.T) {
	for secret, want := range map[string]bool{
		"":                                                      false,
		"hunter2":                                               false,
		"correct horse battery staple":                          false,
		"correct-horse-battery-staple":                          false,
		"CorrectHorseBatteryStaple1":                            false,
		"partner-portal-production-2024":                        false,
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":                  false,
		"aA0aA0aA0aA0aA0aA0aA0aA0aA0":                           false, // only three characters
		"12345678901234567890123456789012":                      false,
		"deadbeefdeadbeefdeadbeefdeadbeef":                      false,
		"00000000-0000-0000-0000-000000000000":                  false,
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8":                  false, // version 1 is a time and an address
		"kT9xQ2vLr7":                                            false, // random, and too short
		"kT9xQ2vLr7Wm4ZbN8sYc1":                                 false, // one too few
		"kT9xQ2vLr7 Wm4ZbN8sYc1P":                               false,
		"kT9xQ2vLr7Wm4ZbN8sYc1P":                                true,
		"9f86d081884c7d659a2feaa0c55ad015":                      true,
		"0b9c2625-dc21-4f05-ad23-ddf47c5f203b":                  true,
		"kva_" + "0123456789ABCDEFGHIJKLMNOPQRSTUV" + "_000000": false, // made up
		"n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=":          true,
	} {
		if got := LooksGenerated(secret); got != want {
			t.Errorf("%q looks generated: %v, want %v", secret, got, want)
		}
	}
}

// TestRandomTokensLookGenerated: of what generators print, next to none is refused.
func TestRandomTokensLookGenerated(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, tt := range map[string]struct {
		alphabet string
		length   int
	}{
		"Kong Enterprise's":  {alphabet, 32},
		"base64":             {alphabet + "-_", 43},
		"hexadecimal":        {"0123456789abcdef", 32},
		"in capital letters": {"0123456789ABCDEF", 64},
	} {
		refused := 0
		for range 10_000 {
			var s strings.Builder
			for range tt.length {
				s.WriteByte(tt.alphabet[random.IntN(len(tt.alphabet))])
			}
			if !LooksGenerated(s.String()) {
				refused++
			}
		}
		if refused > 50 {
			t.Errorf("%s: %d of 10,000 don't look generated", name, refused)
		}
	}
	for range 10_000 {
		if _, secret, _ := Generate(Prefix); !LooksGenerated(secret) {
			t.Fatal("a token with the right checksum doesn't")
		}
	}
}
