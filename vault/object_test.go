package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// object is an inline object on one fake store that holds records. Call it in a
// synctest bubble.
func object(t *testing.T, log *logbook, change func(*HCV), records ...credential.Record) (*Object, *fakeStore) {
	t.Helper()
	stores := &fakeStores{records: records}
	o, release := mustOpen(t, newRegistry(t, stores, log), "plugin", inlineHCV(t, change))
	t.Cleanup(release)
	return o, stores.all()[0]
}

func wantRefused(t *testing.T, o *Object, access, secret string, want secretstore.AbsentReason) {
	t.Helper()
	c, err := o.Lookup(t.Context(), access, secret, nil)
	var refused *RefusedError
	if c != nil || !errors.As(err, &refused) || refused.Reason != want || !errors.Is(err, ErrRefused) {
		t.Errorf("Lookup(%.20q, %.20q) = %v, %v; want refused: %s", access, secret, c, err, want)
	}
}

func wantAccepted(t *testing.T, o *Object, access, secret string) {
	t.Helper()
	if c, err := o.Lookup(t.Context(), access, secret, nil); err != nil || c == nil {
		t.Errorf("Lookup(%q, %q) = %v, %v", access, secret, c, err)
	}
}

func TestLookupFindsWhomAPairStandsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alice()
		r.TTL = time.Minute
		o, store := object(t, &logbook{}, nil, r)
		got, err := o.Lookup(t.Context(), "ac-alice", "right", nil)
		if err != nil {
			t.Fatal(err)
		}
		want := &credential.Credential{
			ID:       credential.ID(store.options.Identity, "ac-alice"),
			Consumer: credential.Consumer{Username: "alice"},
			TTL:      time.Minute,
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(credential.Credential{})); diff != "" {
			t.Error(diff)
		}
		wantAccepted(t, o, "ac-alice", "right")
		if n := store.readCount(); n != 1 {
			t.Errorf("%d reads for a cached pair", n)
		}
	})
}

func TestTokensNoStoreCouldHoldAreRefusedWithoutALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const badChecksum = "kva_0123456789ABCDEFGHIJKLMNOPQRSTUV_000000"
		o, store := object(t, &logbook{}, nil, alice())
		for _, access := range []string{"", "..", "a..b", "a/b", "caf\u00e9", strings.Repeat("a", 256), badChecksum} {
			wantRefused(t, o, access, "right", ReasonMalformed)
		}
		for _, secret := range []string{"", strings.Repeat("s", 4097), badChecksum} {
			wantRefused(t, o, "ac-alice", secret, ReasonMalformed)
		}
		if n := store.readCount(); n != 0 {
			t.Errorf("%d reads", n)
		}
	})
}

func TestRefusalsSayWhy(t *testing.T) {
	tests := []struct {
		name   string
		access string
		secret string
		err    error // of the store
		want   secretstore.AbsentReason
	}{
		{"wrong secret", "ac-alice", "wrong", nil, ReasonWrongSecret},
		{"past its expires_at", "ac-expired", "right", nil, ReasonExpired},
		{"not found", "ac-nobody", "right", nil, secretstore.ReasonNotFound},
		{"deleted", "ac-alice", "right", &secretstore.Absent{Reason: secretstore.ReasonDeleted}, secretstore.ReasonDeleted},
		{"disabled", "ac-alice", "right", fmt.Errorf("wrapped: %w", &secretstore.Absent{Reason: secretstore.ReasonDisabled}), secretstore.ReasonDisabled},
		{"outside exp and nbf", "ac-alice", "right", &secretstore.Absent{Reason: secretstore.ReasonOutside}, secretstore.ReasonOutside},
		{"denied", "ac-alice", "right", &secretstore.Absent{Reason: secretstore.ReasonDenied}, secretstore.ReasonDenied},
		{"unusable", "ac-alice", "right", &secretstore.Absent{Reason: secretstore.ReasonUnusable}, secretstore.ReasonUnusable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				expired := alice()
				expired.AccessToken, expired.ExpiresAt = "ac-expired", time.Now()
				o, store := object(t, &logbook{}, nil, alice(), expired)
				store.fail(tt.err)
				for range 2 { // from the lookup, and from memory
					wantRefused(t, o, tt.access, tt.secret, tt.want)
				}
			})
		})
	}
}

func TestCredentialEndsWhileItIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alice()
		r.ExpiresAt = time.Now().Add(10 * time.Second)
		o, _ := object(t, &logbook{}, nil, r)
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(10 * time.Second)
		wantRefused(t, o, "ac-alice", "right", ReasonExpired)
	})
}

func TestPreviousSecretWorksUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alice()
		r.Previous.Token, r.PreviousExpiresAt = "old", time.Now().Add(10*time.Second)
		o, _ := object(t, &logbook{}, nil, r)
		wantAccepted(t, o, "ac-alice", "right")
		wantAccepted(t, o, "ac-alice", "old")
		time.Sleep(10 * time.Second)
		wantRefused(t, o, "ac-alice", "old", ReasonWrongSecret)
		wantAccepted(t, o, "ac-alice", "right")
	})
}

// If the names of a store ignore case, another spelling finds the record, but is another
// token. It must not push the real one out of the cache either.
func TestAnotherSpellingOfATokenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := object(t, &logbook{}, nil, alice())
		wantRefused(t, o, "AC-Alice", "right", ReasonWrongSecret)
		wantAccepted(t, o, "ac-alice", "right")
		wantRefused(t, o, "AC-Alice", "right", ReasonWrongSecret)
		wantAccepted(t, o, "ac-alice", "right")
	})
}

func TestRecordOfAnotherTokenIsUnusable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		o, store := object(t, log, nil)
		store.putAs("ac-bob", alice())
		wantRefused(t, o, "ac-bob", "right", secretstore.ReasonUnusable)
		if log.count("level=ERROR", "reason=unusable", "access_token: it is not the token") != 1 {
			t.Errorf("log: %s", log)
		}
	})
}

func TestUnusableRecordIsReportedOnceUntilItIsFixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		o, store := object(t, log, nil, alice())
		unusable := &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: &credential.UnusableError{Reason: "consumer", Detail: "it is missing"}}
		fingerprint := credential.Fingerprint(credential.ID(store.options.Identity, "ac-alice"))
		for round := range 2 {
			store.fail(unusable)
			for range 3 {
				wantRefused(t, o, "ac-alice", "right", secretstore.ReasonUnusable)
				time.Sleep(10 * time.Second) // past neg_ttl, so it is read again
			}
			if n := log.count("level=ERROR", "credential="+fingerprint, "consumer: it is missing", "vault="); n != round+1 {
				t.Errorf("reported %d times: %s", n, log)
			}
			store.fail(nil)
			wantAccepted(t, o, "ac-alice", "right")
			time.Sleep(2 * time.Minute)
		}
		if strings.Contains(log.String(), "ac-alice") {
			t.Errorf("an access token is in the log: %s", log)
		}
	})
}

func TestPartsOfRecordsWithoutEffectAreReportedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		o, store := object(t, log, nil)
		put := func(members string) {
			t.Helper()
			r, err := credential.Parse([]byte(`{"access_token":"ac-alice","secret_token":"right","consumer":"alice",` + members + `}`))
			if err != nil {
				t.Fatal(err)
			}
			store.put(*r)
			time.Sleep(2 * time.Minute) // past its ttl
			wantAccepted(t, o, "ac-alice", "right")
		}
		fingerprint := credential.Fingerprint(credential.ID(store.options.Identity, "ac-alice"))
		for i, want := range []struct {
			members string
			lines   []string // each is to be there once more
		}{
			{`"ttl":"soon"`, []string{"ttl: ", "vault object's ttl is used"}},
			{`"ttl":"soon"`, nil},
			{`"ttl":60`, nil},
			{`"ttl":"soon"`, []string{"ttl: ", "vault object's ttl is used"}},
			{`"ttl":"soon","previous_secret_token":"old"`, []string{"ttl: ", "; previous_expires_at: it is missing"}},
			{`"previous_secret_token":"old","previous_expires_at":9e9`, []string{"previous_expires_at: it is more than 7 days ahead"}},
		} {
			lines := append([]string{"level=WARN", "reason=record", "credential=" + fingerprint, "vault="}, want.lines...)
			before := log.count(lines...)
			put(want.members)
			if n := log.count(lines...) - before; (n == 1) != (want.lines != nil) {
				t.Errorf("step %d: reported %d times: %s", i, n, log)
			}
		}
		if s := log.String(); strings.Contains(s, "ac-alice") || strings.Contains(s, "old\"") || strings.Contains(s, "soon") {
			t.Errorf("a value of the record is in the log: %s", s)
		}
	})
}

func TestMoreReportsThanAreRemembered(t *testing.T) {
	var r reported
	for i := range 3 * maxReported {
		if !r.first(fmt.Sprint(i), "wrong") {
			t.Fatalf("record %d was not reported", i)
		}
		if len(r.byHash) > maxReported {
			t.Fatalf("%d are remembered", len(r.byHash))
		}
	}
}

func TestDeniedLoginIsTrustedForAShorterTime(t *testing.T) {
	for seconds, last := range map[secretstore.Seconds]time.Duration{300: 6 * time.Minute, 30: 90 * time.Second, 3000: 11 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			o, store := object(t, &logbook{}, func(c *HCV) { c.ResurrectTTL, c.ResurrectDeniedTTL = 600, seconds }, alice())
			wantAccepted(t, o, "ac-alice", "right")
			store.fail(&secretstore.Failure{Op: "read secret/kong-auth/0123456789ab", Reason: secretstore.Denied})
			time.Sleep(last - time.Second)
			wantAccepted(t, o, "ac-alice", "right")
			time.Sleep(time.Second)
			var unavailable *UnavailableError
			if _, err := o.Lookup(t.Context(), "ac-alice", "right", nil); !errors.As(err, &unavailable) {
				t.Errorf("resurrect_denied_ttl %v: %v after %s", seconds, err, last)
			}
		})
	}
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logbook{}
		o, store := object(t, log, func(c *HCV) { c.ResurrectTTL = 600 }, alice())
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(2 * time.Minute) // past its ttl
		store.fail(&secretstore.Failure{Op: "read secret/kong-auth/0123456789ab", Reason: "sealed", Remedy: "unseal Vault"})

		wantAccepted(t, o, "ac-alice", "right")
		_, err := o.Lookup(t.Context(), "ac-bob", "right", nil)
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) {
			t.Fatalf("Lookup = %v, want an UnavailableError", err)
		}
		if unavailable.Object != o.Name() || unavailable.Reason != "sealed" || unavailable.RetryAfter < time.Second {
			t.Errorf("%+v", unavailable)
		}
		want := `vault object "hcv at http://127.0.0.1:8200/secret": read secret/kong-auth/0123456789ab: sealed (unseal Vault)`
		if got := err.Error(); got != want {
			t.Errorf("error %q, want %q", got, want)
		}
		if errors.Is(err, ErrRefused) {
			t.Error("an outage is told as a refusal")
		}

		store.fail(nil)
		time.Sleep(time.Minute)
		wantRefused(t, o, "ac-bob", "right", secretstore.ReasonNotFound)
		synctest.Wait()
		for _, line := range [][]string{
			{"level=WARN", "can't answer", "reason=sealed", "vault=", "last_success=\"2m0s ago\"", "held_until=2000-01-01T00:11:00Z"},
			{"level=WARN", "answers again", "vault=", "lasted="},
		} {
			if log.count(line...) != 1 {
				t.Errorf("want one line with %q: %s", line, log)
			}
		}
	})
}

func TestFailureWithoutARemedyGetsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, store := object(t, &logbook{}, nil)
		store.held = make(chan struct{}) // never answers
		_, err := o.Lookup(t.Context(), "ac-alice", "right", nil)
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || unavailable.Reason != "timeout" || !strings.Contains(err.Error(), "(check that") {
			t.Errorf("Lookup = %v", err)
		}
	})
}

func TestTooManyUnknownTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := object(t, &logbook{}, func(c *HCV) { c.MaxLookupsPerSecond = 1 })
		var limited sync.Map
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				_, err := o.Lookup(t.Context(), fmt.Sprintf("ac-%d", i), "right", nil)
				if limit := (*LimitError)(nil); errors.As(err, &limit) {
					limited.Store(i, *limit)
				}
			})
		}
		wg.Wait()
		n := 0
		limited.Range(func(_, limit any) bool {
			n++
			if l := limit.(LimitError); l.Object != o.Name() || l.RetryAfter < time.Second {
				t.Errorf("%+v", l)
			}
			return true
		})
		if n == 0 {
			t.Error("nobody was told to wait")
		}
	})
}

func TestCallerThatGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, store := object(t, &logbook{}, nil)
		store.held = make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := o.Lookup(ctx, "ac-alice", "right", nil); !errors.Is(err, context.Canceled) || errors.Is(err, ErrRefused) {
			t.Errorf("Lookup = %v", err)
		}
	})
}

func TestLimitsBecomeThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, store := object(t, &logbook{}, func(c *HCV) { c.TTL, c.MaxTTL = 0, 1.5 }, alice())
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(time.Second)
		wantAccepted(t, o, "ac-alice", "right")
		if n := store.readCount(); n != 1 {
			t.Errorf("%d reads within max_ttl", n)
		}
		time.Sleep(time.Second)
		wantAccepted(t, o, "ac-alice", "right")
		if n := store.readCount(); n != 2 {
			t.Errorf("%d reads after max_ttl, want 2", n)
		}
	})
}
