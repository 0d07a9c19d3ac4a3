package manage

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
)

func TestPagesHaveEveryCredentialOnce(t *testing.T) {
	documents := map[string]string{}
	var want []string
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		documents[name] = `{"access_token":"` + name + `","secret_token":"s","consumer":"bob"}`
		want = append(want, name)
	}
	v, m := newVault(documents)
	var got []string
	for after, pages := "", 0; pages < 4; pages++ {
		p, err := v.Page(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range p.Entries {
			got = append(got, e.AccessToken)
		}
		if after = p.Next; after == "" {
			break
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if empty, err := v.Empty(t.Context()); empty || err != nil {
		t.Errorf("%v, %v", empty, err)
	}
	m.empty = true
	if empty, err := v.Empty(t.Context()); !empty || err != nil {
		t.Errorf("%v, %v", empty, err)
	}
}

// TestUpdateChangesOnlyWhatItMay: the tokens stay, and so does what this program doesn't
// know.
func TestUpdateChangesOnlyWhatItMay(t *testing.T) {
	v, m := newVault(map[string]string{
		"alice": `{"access_token":"alice","secret_token":"s","consumer":{"id":"ce67c25e-2168-4a09-81e5-e06187a2384f"},"theirs":1,"ttl":60}`,
		"off":   "",
	})
	e, err := v.Update(t.Context(), "alice", func(r *credential.Record) {
		r.AccessToken, r.Secret, r.TTL, r.Disabled, r.Groups = "bob", credential.PlainSecret("other"), time.Hour, true, []string{"gold"}
	})
	if err != nil {
		t.Fatal(err)
	}
	if e.AccessToken != "alice" || e.Enabled || e.TTL != 3600 {
		t.Errorf("%+v", e)
	}
	want := `{"access_token":"alice","consumer":{"id":"ce67c25e-2168-4a09-81e5-e06187a2384f"},"enabled":false,"groups":["gold"],"secret_token":"s","theirs":1,"ttl":3600,"updated_at":1795694400}`
	if diff := cmp.Diff(want, m.documents["alice"]); diff != "" {
		t.Error(diff)
	}
	if _, err := v.Update(t.Context(), "off", func(*credential.Record) {}); !errors.Is(err, ErrDisabled) {
		t.Error(err)
	}
}

func TestConsumerWithoutAnAdminAPI(t *testing.T) {
	const id = "ce67c25e-2168-4a09-81e5-e06187a2384f"
	for name, want := range map[string]credential.Consumer{
		id: {ID: id}, "CE67C25E-2168-4A09-81E5-E06187A2384F": {ID: id}, "alice": {Username: "alice"},
	} {
		got, err := FindConsumer(t.Context(), nil, name)
		if err != nil || got.Consumer != want || got.Checked {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "a\nb"} {
		if _, err := FindConsumer(t.Context(), nil, name); !errors.Is(err, ErrConsumerName) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
