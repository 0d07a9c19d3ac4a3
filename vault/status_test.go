package vault

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

// LoginEnds makes the fake's login end in the year 2030.
func (s *fakeStore) LoginEnds() time.Time { return loginEnds }

var loginEnds = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func TestStatusTellsOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		o, release := mustOpen(t, r, "plugin", inlineHCV(t, func(c *HCV) { c.MaxLookupsPerSecond = 10 }))
		want := Status{Object: place, State: stateUnasked, LoginEnds: loginEnds}
		wantStatus(t, r, want)

		answered := time.Now()
		wantAccepted(t, o, "ac-alice", "right")
		wantRefused(t, o, "ac-nobody", "right", secretstore.ReasonNotFound)
		want.State, want.LastSuccess, want.Credentials = stateAnswering, answered, 1
		want.Lookups = LookupsStatus{PerSecond: 10, Permits: 9}
		wantStatus(t, r, want)

		time.Sleep(30 * time.Second)
		stores.all()[0].fail(errDown)
		failed := time.Now()
		wantUnavailable(t, o, "ac-bob", "right")
		want.State, want.HoldUntil = stateFailing, failed.Add(time.Hour)
		want.Error, want.ErrorAt = errDown.Error(), failed
		want.Lookups.Permits = 9 // a failure uses one up
		wantStatus(t, r, want)

		release()
		wantStatus(t, r)
	})
}

func wantStatus(t *testing.T, r *Registry, want ...Status) {
	t.Helper()
	if diff := cmp.Diff(want, r.Status()); diff != "" {
		t.Error(diff)
	}
}

func TestStatusTellsOfWhatTheNodeDefines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{}, "KONG_VAULT_HCV_TOKEN", "hvs.node", "KONG_VAULT_AZURE_VAULT_URI", "nonsense")
		_, release := mustOpen(t, r, "plugin", Config{Vault: "nobody's"})
		got := r.Status()
		if len(got) != 3 {
			t.Fatalf("%+v", got)
		}
		for i, want := range []Status{{Object: "azure", State: stateInvalid}, {Object: "hcv", State: stateUnused}, {Object: "nobody's", State: stateInvalid}} {
			if (got[i].Error != "") != (want.State == stateInvalid) {
				t.Errorf("%s: %q", got[i].Object, got[i].Error)
			}
			got[i].Error = ""
			if diff := cmp.Diff(want, got[i]); diff != "" {
				t.Error(diff)
			}
		}
		release()
		_, _ = mustOpen(t, r, "plugin", Config{Vault: "hcv"})
		if got := r.Status(); len(got) != 2 || got[1].State != stateUnasked {
			t.Errorf("%+v", got)
		}
	})
}

func TestStatusNamesEveryObjectThatSharesAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r, _ := fileRegistry(t, stores, &logbook{}, `{"vaults": [
			{"name": "hcv", "prefix": "one", "config": {"token": "hvs.1"}}, {"name": "hcv", "prefix": "two", "config": {"token": "hvs.1"}}]}`)
		_, _ = mustOpen(t, r, "a", Config{Vault: "one"})
		_, _ = mustOpen(t, r, "b", Config{Vault: "two"})
		got := r.Status()
		if len(stores.all()) != 1 || len(got) != 2 || got[0].Object != "one" || got[1].Object != "two" || got[1].State != stateUnasked {
			t.Errorf("%d stores, %+v", len(stores.all()), got)
		}
	})
}

func TestStatusSaysWhatIsWrongWithTheVaultsFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, path := fileRegistry(t, &fakeStores{}, &logbook{}, `nonsense`)
		got := r.Status()
		if len(got) != 1 || got[0].Object != path || got[0].State != stateInvalid || !strings.Contains(got[0].Error, path) {
			t.Errorf("%+v", got)
		}
	})
}

// A status shows errors, and no error may hold a secret.
func TestStatusHoldsNoToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{records: someRecords()}
		r := newRegistry(t, stores, &logbook{})
		o, _ := mustOpen(t, r, "plugin", inlineHCV(t, nil))
		stores.all()[0].fail(errors.New("down"))
		wantUnavailable(t, o, "ac-alice", "right")
		for _, s := range r.Status() {
			if strings.Contains(s.Error, "ac-alice") || strings.Contains(s.Error, "right") {
				t.Errorf("%+v", s)
			}
		}
	})
}
