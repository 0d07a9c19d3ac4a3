package vault

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kong-vault-auth/secretstore"
)

func TestGuessingSecretsIsAnsweredWithALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		o, _ := object(t, log, func(c *HCV) { c.TTL = 3600 }, someRecords()...)
		guess := func(token, secret string) error {
			_, err := o.Lookup(t.Context(), token, secret, from("192.0.2.7"))
			return err
		}
		for window := range 2 {
			began := time.Now()
			for range maxGuesses { // the same one again counts too
				if err := guess("ac-alice", "wrong"); !errors.Is(err, ErrRefused) {
					t.Fatalf("window %d: %v", window, err)
				}
			}
			for i := range 3 {
				var guessing *GuessingError
				err := guess("ac-alice", "wrong")
				if !errors.As(err, &guessing) || errors.Is(err, ErrRefused) {
					t.Fatalf("window %d: %v", window, err)
				}
				end := began.Add(guessWindow)
				if got := time.Now().Add(guessing.RetryAfter); guessing.Object != o.Name() || i == 2 && got.Sub(end).Abs() > 2*time.Second {
					t.Errorf("%+v, the window ends at %v", guessing, end)
				}
				wantAccepted(t, o, "ac-alice", "right")
			}
			if err := guess("ac-bob", "wrong"); !errors.Is(err, ErrRefused) {
				t.Errorf("another credential: %v", err)
			}
			if n := log.count("level=WARN", "reason=guessing", "credential=", "client=192.0.2.7", "vault="); n != window+1 {
				t.Errorf("%d audit lines in %d windows: %s", n, window+1, log)
			}
			time.Sleep(guessWindow)
		}
		if strings.Contains(log.String(), "ac-alice") || strings.Contains(log.String(), "wrong\"") {
			t.Errorf("a token is in the log: %s", log)
		}
	})
}

// A secret token whose + became a space in a query string is no guess: it is refused as
// usual, and the log explains it.
func TestSecretsThatLostTheirPlusAreNoGuesses(t *testing.T) {
	for name, tt := range map[string]struct {
		stored, previous, sent string
		lost                   bool
	}{
		"one":                     {"a+b", "", "a b", true},
		"all":                     {"+a++b+", "", " a  b ", true},
		"of the previous secret":  {"new", "o+d", "o d", true},
		"some, escaped otherwise": {"a+b+c", "", "a+b c", true},
		"a space of its own":      {"a +b", "", "a  b", false},
		"another secret":          {"a+b", "", "a c", false},
		"no space":                {"a+b", "", "a-b", false},
		"the other way round":     {"a b", "", "a+b", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &logbook{}
				r := alice()
				r.Secret.Token = tt.stored
				if tt.previous != "" {
					r.Previous.Token, r.PreviousExpiresAt = tt.previous, time.Now().Add(time.Hour)
				}
				o, _ := object(t, log, func(c *HCV) { c.TTL = 3600 }, r)
				var guessing *GuessingError
				for range maxGuesses + 1 { // the same one again is remembered
					_, err := o.Lookup(t.Context(), "ac-alice", tt.sent, from("192.0.2.7"))
					if !errors.Is(err, ErrRefused) && !errors.As(err, &guessing) {
						t.Fatalf("got %v, want a refusal", err)
					}
				}
				if (guessing == nil) != tt.lost {
					t.Errorf("taken for guesses: %t, want %t", guessing != nil, !tt.lost)
				}
				explained := log.count("level=WARN", "reason=plus", "%2B", "credential=", "client=192.0.2.7", "vault=") > 0
				if explained != tt.lost || strings.Contains(log.String(), tt.stored) || strings.Contains(log.String(), tt.sent) {
					t.Errorf("explained: %t, want %t: %s", explained, tt.lost, log)
				}
				wantAccepted(t, o, "ac-alice", tt.stored)
			})
		})
	}
}

func TestUnknownTokensAreNoGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := object(t, &logbook{}, nil)
		for range 2 * maxGuesses {
			wantRefused(t, o, "ac-nobody", "wrong", secretstore.ReasonNotFound)
		}
	})
}

func TestRotatedSecretWorksWhileOthersGuess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, store := object(t, &logbook{}, func(c *HCV) { c.TTL = 3600 }, alice())
		wantAccepted(t, o, "ac-alice", "right")
		for i := range 2 * maxGuesses {
			_, _ = o.Lookup(t.Context(), "ac-alice", fmt.Sprint("guess-", i), nil)
		}
		r := alice()
		r.Secret.Token = "new"
		store.put(r)
		time.Sleep(time.Millisecond) // so that no two reads are at the same instant
		wantAccepted(t, o, "ac-alice", "new")
	})
}

func TestGuessesAreBounded(t *testing.T) {
	var g guesses
	now := time.Now()
	for i := range 3 * maxGuessed {
		if n, _ := g.add(fmt.Sprint(i), now.Add(time.Duration(i)*time.Millisecond)); n != 1 {
			t.Fatalf("%d guesses", n)
		}
		if len(g.byKey) > maxGuessed {
			t.Fatalf("%d are watched", len(g.byKey))
		}
	}
}
