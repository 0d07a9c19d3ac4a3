package manage

import (
	stdcmp "cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// memory is a Writer in memory.
type memory struct {
	documents map[string]string
	version   int
	base64    bool
	err       error // of every write, if set
	log       []string
	empty     bool // it lists nothing
}

func (m *memory) Get(_ context.Context, accessToken string) (*secretstore.Document, error) {
	d, found := m.documents[accessToken]
	if found && d == "" {
		return &secretstore.Document{Disabled: true, Updated: now.Add(-time.Hour)}, nil
	}
	if found {
		return &secretstore.Document{Record: []byte(d), Version: strconv.Itoa(m.version), Updated: now.Add(-time.Hour)}, nil
	}
	return nil, &secretstore.Absent{Reason: secretstore.ReasonNotFound}
}

func (m *memory) Create(_ context.Context, accessToken string, record []byte) error {
	if _, found := m.documents[accessToken]; found {
		return &secretstore.Conflict{Op: "create", Reason: secretstore.ConflictExists}
	}
	return m.write("create", accessToken, record)
}

func (m *memory) Replace(_ context.Context, accessToken string, record []byte, version string) error {
	if version != strconv.Itoa(m.version) {
		return &secretstore.Conflict{Op: "replace", Reason: secretstore.ConflictChanged}
	}
	return m.write("replace", accessToken, record)
}

func (m *memory) write(op, accessToken string, record []byte) error {
	m.log = append(m.log, op+" "+accessToken)
	if m.err != nil {
		return m.err
	}
	m.version++
	m.documents[accessToken] = string(record)
	return nil
}

func (m *memory) Delete(_ context.Context, accessToken string) error {
	m.log = append(m.log, "delete "+accessToken)
	delete(m.documents, accessToken)
	return m.err
}

func (m *memory) Recover(context.Context, string) (string, error) {
	return strconv.Itoa(m.version), m.err
}

func (m *memory) Purge(_ context.Context, accessToken string) error {
	m.log = append(m.log, "purge "+accessToken)
	return &secretstore.Absent{Reason: secretstore.ReasonNotFound}
}

func (m *memory) Names(_ context.Context, yield func([]secretstore.Name) error) error {
	if m.empty {
		return nil
	}
	var page []secretstore.Name
	for name := range m.documents {
		page = append(page, secretstore.Name{AccessToken: name})
	}
	slices.SortFunc(page, func(a, b secretstore.Name) int { return strings.Compare(a.AccessToken, b.AccessToken) })
	return yield(append(page, secretstore.Name{AccessToken: "deleted-meanwhile"}))
}

func (m *memory) Checked(context.Context) (bool, error) { return true, nil }
func (m *memory) Base64() bool                          { return m.base64 }
func (m *memory) Close() error                          { return nil }

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func newVault(documents map[string]string) (*Vault, *memory) {
	if documents == nil {
		documents = map[string]string{}
	}
	m := &memory{documents: documents}
	return &Vault{Name: "kong-auth", Writer: m, Fingerprint: func(s string) string { return "of " + s }, Now: func() time.Time { return now }}, m
}

func noDelivery(*Issued) (func(), error) { return nil, nil }

// The record is compared as the plugin reads it.
func TestCreate(t *testing.T) {
	for name, tt := range map[string]struct{ plain, base64 bool }{
		"hash": {}, "plain": {plain: true}, "plain, in base64": {plain: true, base64: true},
	} {
		t.Run(name, func(t *testing.T) {
			v, m := newVault(nil)
			m.base64 = tt.base64
			i, err := v.Create(t.Context(), New{
				AccessToken: "alice", Plain: tt.plain, Consumer: credential.Consumer{Username: "bob"}, TTL: time.Minute,
				Groups: []string{"gold"}, AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
				ExpiresAt: now.Add(time.Hour), Description: "d", CreatedBy: "olga",
			}, noDelivery)
			if err != nil {
				t.Fatal(err)
			}
			r, err := v.parse([]byte(m.documents["alice"]))
			if err != nil {
				t.Fatal(err)
			}
			if tt.plain != (r.Secret.Token == i.Reveal()) || !tt.plain && !r.Secret.Hash.Matches(i.Reveal()) {
				t.Error("another secret token is stored than was issued")
			}
			got, _ := json.Marshal(v.shown(r))
			want := `{"access_token":"alice","fingerprint":"of alice","consumer":{"username":"bob"},"stored":"` + map[bool]string{true: "plain", false: "hash"}[tt.plain] + `",` +
				`"enabled":true,"created_at":"2026-11-26T12:00:00Z","updated_at":"2026-11-26T12:00:00Z","expires_at":"2026-11-26T13:00:00Z",` +
				`"ttl":60,"groups":["gold"],"allowed_ips":["192.0.2.0/24"],"description":"d","created_by":"olga"}`
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// If the write fails, the delivery is undone.
func TestSecretIsDeliveredBeforeTheStoreIsWrittenTo(t *testing.T) {
	refused := &secretstore.Failure{Op: "create", Reason: secretstore.Denied}
	changed := &secretstore.Conflict{Op: "create", Reason: secretstore.ConflictChanged}
	unanswered := &secretstore.Failure{Op: "create", Reason: "timeout"}
	full := errors.New("the disk is full")
	operations := map[string]func(*Vault, Delivery) error{
		"create": func(v *Vault, d Delivery) error {
			_, err := v.Create(t.Context(), New{AccessToken: "bob", Consumer: credential.Consumer{Username: "b"}}, d)
			return err
		},
		"replace": func(v *Vault, d Delivery) error {
			_, err := v.Rotate(t.Context(), "alice", Rotation{}, d)
			return err
		},
	}
	for op, do := range operations {
		for name, tt := range map[string]struct {
			store, delivery error
			want            []string
		}{
			"done":                     {nil, nil, []string{"deliver", op}},
			"the store refuses":        {refused, nil, []string{"deliver", op, "undo"}},
			"it has changed":           {changed, nil, []string{"deliver", op, "undo"}},
			"nobody knows":             {unanswered, nil, []string{"deliver", op}},
			"it can't be delivered to": {nil, full, []string{"deliver"}},
		} {
			t.Run(op+", "+name, func(t *testing.T) {
				v, m := newVault(map[string]string{"alice": `{"access_token":"alice","secret_token":"s","consumer":"a"}`})
				m.err = tt.store
				err := do(v, func(*Issued) (func(), error) {
					m.log = append(m.log, "deliver")
					return func() { m.log = append(m.log, "undo") }, tt.delivery
				})
				for i := range m.log {
					m.log[i], _, _ = strings.Cut(m.log[i], " ")
				}
				if diff := cmp.Diff(tt.want, m.log); diff != "" || !errors.Is(err, stdcmp.Or(tt.store, tt.delivery)) {
					t.Errorf("%v %s", err, diff)
				}
			})
		}
	}
}

func TestRotation(t *testing.T) {
	const plain = `{"access_token":"alice","secret_token":"old","consumer":"a","other":[1]}`
	const mixed = `{"access_token":"alice","secret_token":"old","previous_secret_token":"older","previous_expires_at":1795690000,"consumer":"a"}`
	for name, tt := range map[string]struct {
		stored   string
		how      Rotation
		form     string
		previous time.Time
	}{
		"at once":                      {plain, Rotation{}, StoredPlain, time.Time{}},
		"with a grace":                 {plain, Rotation{Grace: time.Hour}, StoredPlain, now.Add(time.Hour)},
		"to a hash":                    {plain, Rotation{Grace: time.Hour, Stored: StoredHash}, StoredHash, now.Add(time.Hour)},
		"the one before that goes":     {mixed, Rotation{}, StoredPlain, time.Time{}},
		"the longest that is possible": {mixed, Rotation{Grace: credential.MaxGrace}, StoredPlain, now.Add(credential.MaxGrace)},
	} {
		t.Run(name, func(t *testing.T) {
			v, m := newVault(map[string]string{"alice": tt.stored})
			i, err := v.Rotate(t.Context(), "alice", tt.how, noDelivery)
			if err != nil {
				t.Fatal(err)
			}
			r, err := credential.Parse([]byte(m.documents["alice"]))
			if err != nil {
				t.Fatal(err)
			}
			if tt.form == StoredPlain && r.Secret.Token != i.Reveal() || tt.form == StoredHash && !r.Secret.Hash.Matches(i.Reveal()) || i.Stored != tt.form {
				t.Error("another secret token is stored than was issued, or in another form")
			}
			if !r.PreviousExpiresAt.Equal(tt.previous) || tt.previous.IsZero() != r.Previous.IsZero() || !tt.previous.IsZero() && r.Previous.Token != "old" {
				t.Errorf("the previous one works until %v", r.PreviousExpiresAt)
			}
			if strings.Contains(tt.stored, "other") && !strings.Contains(m.documents["alice"], `"other":[1]`) {
				t.Error("a field is lost")
			}
			if strings.Contains(m.documents["alice"], "older") {
				t.Error("a secret token from before is still there")
			}
		})
	}
}

func TestImpossibleRotations(t *testing.T) {
	for name, tt := range map[string]struct {
		token string
		how   Rotation
		says  string
	}{
		"too long a grace": {"alice", Rotation{Grace: credential.MaxGrace + time.Second}, "the grace must be between 0 and 7 days"},
		"a negative one":   {"alice", Rotation{Grace: -1}, "the grace must be"},
		"unknown":          {"bob", Rotation{}, "credential of bob: not_found"},
		"disabled":         {"disabled", Rotation{}, "credential of disabled: it is disabled in the store"},
		"unusable":         {"unusable", Rotation{}, "credential of unusable: consumer: it is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			v, m := newVault(map[string]string{
				"alice": `{"access_token":"alice","secret_token":"hunter2","consumer":"a"}`, "disabled": "",
				"unusable": `{"access_token":"unusable","secret_token":"hunter2"}`,
			})
			_, err := v.Rotate(t.Context(), tt.token, tt.how, noDelivery)
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") || len(m.log) > 0 {
				t.Errorf("%v, %v", err, m.log)
			}
		})
	}
}

func TestSecretTokenHasThePrefixOfItsAccessToken(t *testing.T) {
	v, _ := newVault(nil)
	i, err := v.Create(t.Context(), New{Prefix: "kva", Consumer: credential.Consumer{Username: "a"}}, noDelivery)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := v.Rotate(t.Context(), i.AccessToken, Rotation{}, noDelivery)
	if err != nil || !strings.HasPrefix(rotated.Reveal(), "kva_") || rotated.Reveal() == i.Reveal() {
		t.Errorf("%v", err)
	}
}

func TestDue(t *testing.T) {
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	const day = 24 * time.Hour
	for name, tt := range map[string]struct {
		e    Entry
		due  bool
		says string
	}{
		"old":            {Entry{Enabled: true, Stored: StoredHash, UpdatedAt: at(-91 * day)}, true, ""},
		"just":           {Entry{Enabled: true, UpdatedAt: at(-90 * day)}, true, ""},
		"young":          {Entry{Enabled: true, UpdatedAt: at(-89 * day), CreatedAt: at(-900 * day)}, false, ""},
		"never rotated":  {Entry{Enabled: true, CreatedAt: at(-91 * day)}, true, ""},
		"without a date": {Entry{Enabled: true}, false, "its age is not known: neither its record nor the store has a date"},
		"disabled":       {Entry{UpdatedAt: at(-91 * day)}, false, "disabled"},
		"expired":        {Entry{Enabled: true, UpdatedAt: at(-91 * day), ExpiresAt: at(0)}, false, "expired"},
		"unusable":       {Entry{Enabled: true, UpdatedAt: at(-91 * day), Problem: "p"}, false, "unusable: p"},
		"imperfect":      {Entry{Enabled: true, Stored: StoredPlain, UpdatedAt: at(-91 * day), Problem: "p"}, true, ""},
	} {
		if due, why := Due(tt.e, 90*day, now); due != tt.due || why != tt.says {
			t.Errorf("%s: %v %q", name, due, why)
		}
	}
}

func TestListing(t *testing.T) {
	v, _ := newVault(map[string]string{
		"alice": `{"access_token":"alice","secret_token":"hunter2","consumer":{"id":"3FD1EEA1-885a-4011-b986-289943ff8177"},"created_at":1795000000}`,
		"bob":   `{"access_token":"carol","secret_token":"hunter2","consumer":"b"}`,
		"dave":  "", "erin": `{"secret_token":"hunter2"}`,
	})
	var got []string
	err := v.List(t.Context(), func(e Entry) error {
		b, _ := json.Marshal(e)
		got = append(got, string(b))
		return nil
	})
	want := []string{
		`{"access_token":"alice","fingerprint":"of alice","consumer":{"id":"3fd1eea1-885a-4011-b986-289943ff8177"},"stored":"plain","enabled":true,"created_at":"2026-11-18T11:06:40Z","updated_at":"2026-11-26T11:00:00Z"}`,
		`{"access_token":"bob","fingerprint":"of bob","consumer":{"username":"b"},"stored":"plain","enabled":true,"updated_at":"2026-11-26T11:00:00Z","problem":"access_token: it is not the name the record is stored under (store the record under its access_token)"}`,
		`{"access_token":"dave","fingerprint":"of dave","enabled":false,"updated_at":"2026-11-26T11:00:00Z"}`,
		`{"access_token":"erin","fingerprint":"of erin","enabled":true,"updated_at":"2026-11-26T11:00:00Z","problem":"access_token: it is missing or empty (write the token that clients send, which is also the secret's name)"}`,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	enough := errors.New("enough")
	if err := v.List(t.Context(), func(Entry) error { return enough }); err != enough {
		t.Errorf("%v, want what yield said", err)
	}
}

func TestRevocation(t *testing.T) {
	for name, tt := range map[string]struct {
		token string
		purge bool
		want  []string
		says  string
	}{
		"delete":   {"alice", false, []string{"delete alice"}, ""},
		"purge":    {"alice", true, []string{"delete alice", "purge alice"}, ""},
		"unusable": {"erin", false, []string{"delete erin"}, ""},
		"unknown":  {"bob", true, nil, "credential of bob: not_found: the vault object kong-auth has none with this access token (credential list shows access tokens and fingerprints)"},
	} {
		t.Run(name, func(t *testing.T) {
			v, m := newVault(map[string]string{"alice": "{}", "erin": "hunter2"})
			err := v.Revoke(t.Context(), tt.token, tt.purge)
			if diff := cmp.Diff(tt.want, m.log); diff != "" || (err == nil) != (tt.says == "") || err != nil && err.Error() != tt.says {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func TestIssuedSecretIsNotPrinted(t *testing.T) {
	v, _ := newVault(nil)
	i, err := v.Create(t.Context(), New{AccessToken: "alice", Consumer: credential.Consumer{Username: "a"}}, noDelivery)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(i)
	for _, text := range []string{fmt.Sprint(i), fmt.Sprintf("%+v %#v %s %d", i, i, i, i), string(b)} {
		if strings.Contains(text, i.Reveal()) || err != nil {
			t.Errorf("%v, it is in %s", err, text)
		}
	}
}

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

// The tokens stay, and so do fields that this program doesn't know.
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
