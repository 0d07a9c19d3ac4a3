package vault

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

func TestDisabledCredentialIsRefusedUntilItIsEnabled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, store := object(t, &logbook{}, nil, alice())
		wantAccepted(t, o, "ac-alice", "right")
		disabled := alice()
		disabled.Disabled = true
		store.put(disabled)
		time.Sleep(2 * time.Minute) // past its ttl
		for range 2 {               // from the lookup, and from memory
			wantRefused(t, o, "ac-alice", "right", secretstore.ReasonDisabled)
		}

		store.fail(errDown)
		wantRefused(t, o, "ac-alice", "right", secretstore.ReasonDisabled)
		time.Sleep(10 * time.Second)
		wantUnavailable(t, o, "ac-alice", "right") // not resurrected

		store.fail(nil)
		store.put(alice())
		time.Sleep(10 * time.Second)
		wantAccepted(t, o, "ac-alice", "right")
	})
}

func TestCredentialIsRefusedBeforeItsTime(t *testing.T) {
	for name, outage := range map[string]error{"store answers": nil, "outage": errDown} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const early = 10 * time.Minute
				r := alice()
				r.NotBefore, r.TTL = time.Now().Add(early), time.Hour
				o, store := object(t, &logbook{}, nil, r)
				for range 2 { // from the lookup, and from memory
					wantRefused(t, o, "ac-alice", "right", ReasonEarly)
				}
				wantRefused(t, o, "ac-alice", "wrong", ReasonWrongSecret)
				store.fail(outage)
				time.Sleep(early - time.Nanosecond)
				wantRefused(t, o, "ac-alice", "right", ReasonEarly)
				time.Sleep(time.Nanosecond)
				wantAccepted(t, o, "ac-alice", "right")
			})
		})
	}
}

// The not_before may have been written in the wrong time zone, for example.
func TestCorrectedNotBeforeCountsWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := alice()
		r.NotBefore, r.TTL = time.Now().Add(time.Hour), time.Hour
		o, store := object(t, &logbook{}, nil, r)
		for range 100 {
			wantRefused(t, o, "ac-alice", "right", ReasonEarly)
		}
		if n := store.readCount(); n != 1 {
			t.Errorf("%d reads", n)
		}
		r.NotBefore = time.Time{}
		store.put(r)
		time.Sleep(earlyTTL)
		wantAccepted(t, o, "ac-alice", "right")
		time.Sleep(30 * time.Minute)
		wantAccepted(t, o, "ac-alice", "right")
		if n := store.readCount(); n != 2 {
			t.Errorf("%d reads: its own ttl does not count", n)
		}
	})
}

func TestPairIsAcceptedFromAllowedAddressesOnly(t *testing.T) {
	for address, want := range map[from]bool{
		"192.0.2.7": true, "::ffff:192.0.2.7": true, "192.0.2.8": false,
		"10.255.0.1": true, "11.0.0.1": false, "::ffff:10.0.0.1": true,
		"2001:db8::1": true, "2001:db8:ffff::": true, "2001:db9::1": false,
		"fe80::1%eth0": true, "::a00:1": false,
		"": false, "unix:": false, "192.0.2.7, 192.0.2.7": false,
	} {
		t.Run(string(address), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, log := alice(), &logbook{}
				for _, p := range []string{"192.0.2.7/32", "10.0.0.0/8", "2001:db8::/32", "fe80::/64"} {
					r.AllowedIPs = append(r.AllowedIPs, netip.MustParsePrefix(p))
				}
				o, store := object(t, log, nil, r)
				for range 2 { // from the lookup, and from memory
					c, err := o.Lookup(t.Context(), "ac-alice", "right", address)
					var refused *RefusedError
					errors.As(err, &refused)
					if want != (err == nil) || want != (c != nil) || !want && (refused == nil || refused.Reason != ReasonAddress) {
						t.Errorf("%v, %v, want it accepted: %t", c, err, want)
					}
				}
				lines := log.count("level=WARN", "reason=address_not_allowed", "vault=", "credential="+credential.Fingerprint(credential.ID(store.options.Identity, "ac-alice")))
				if (lines > 0) == want {
					t.Errorf("%d lines: %s", lines, log)
				}
				if store.readCount() != 1 {
					t.Errorf("%d reads", store.readCount())
				}
			})
		})
	}
}

// Asking for it costs a call to Kong.
func TestAddressIsAskedForOnlyIfTheRecordDependsOnIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		restricted := alice()
		restricted.AccessToken, restricted.AllowedIPs = "ac-restricted", []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}
		o, _ := object(t, &logbook{}, nil, alice(), restricted)
		for access, want := range map[string]bool{"ac-alice": false, "ac-restricted": true} {
			client := &asked{}
			if _, err := o.Lookup(t.Context(), access, "right", client); err != nil {
				t.Error(err)
			}
			client.times = 0
			if _, err := o.Lookup(t.Context(), access, "right", client); err != nil {
				t.Error(err)
			}
			if (client.times > 0) != want {
				t.Errorf("%s: asked %d times", access, client.times)
			}
		}
	})
}

func TestRestrictionsOutliveTheProcess(t *testing.T) {
	onNode(t, func(n *node) {
		restricted := alice()
		restricted.NotBefore, restricted.AllowedIPs = time.Now().Add(time.Minute), []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}
		restricted.Secret, restricted.Groups = credential.HashedSecret("right"), []string{}
		_, o, s := n.server(nil)
		s.put(restricted)
		wantRefused(n.T, o, "ac-alice", "right", ReasonEarly)
		time.Sleep(untilSnapshot)

		_, o, _ = n.server(errDown)
		wantRefused(n.T, o, "ac-alice", "right", ReasonEarly)
		time.Sleep(time.Minute)
		wantRefused(n.T, o, "ac-alice", "right", ReasonAddress)
		c, err := o.Lookup(n.Context(), "ac-alice", "right", from("192.0.2.7"))
		if err != nil || c.Groups() == nil || len(c.Groups()) != 0 {
			n.Errorf("%v, %v", c, err)
		}
	})
}
