package credential

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// full is a record with everything in it.
func full() *Record {
	hash, _ := parseHash(saltedHash)
	return &Record{
		AccessToken:       "ac-1",
		Secret:            Secret{"right", hash},
		Previous:          PlainSecret("<old>"),
		PreviousExpiresAt: time.Unix(1893456000, 5e8),
		Disabled:          true,
		NotBefore:         time.Unix(1750000000, 0),
		ExpiresAt:         time.Unix(1893456000, 0),
		AllowedIPs:        []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")},
		Groups:            []string{"gold", "night shift"},
		TTL:               90 * time.Second,
		Consumer:          Consumer{ID: consumerID},
		Description:       "d",
		CreatedBy:         "c",
		CreatedAt:         time.Unix(1550538920, 0),
		UpdatedAt:         time.Unix(1550538930, 0),
	}
}

func TestEncodeWritesWhatKongEnterpriseReads(t *testing.T) {
	r := &Record{
		AccessToken: "ac-1", Secret: PlainSecret("right"), Consumer: Consumer{ID: consumerID}, TTL: 24 * time.Hour,
		CreatedAt: time.Unix(1550538920, 7), UpdatedAt: time.Unix(1550538930, 0),
	}
	wantEncoded(t, r, Encode, `{"access_token":"ac-1","consumer":{"id":"`+consumerID+`"},"created_at":1550538920,
		"secret_token":"right","ttl":86400,"updated_at":1550538930}`)
}

func TestEncodeWritesEveryField(t *testing.T) {
	rest := `"access_token":"ac-1","allowed_ips":["192.0.2.7","2001:db8::/32"],"consumer":{"id":"` + consumerID + `"},
		"created_at":1550538920,"created_by":"c","description":"d","enabled":false,"expires_at":"2030-01-01T00:00:00Z",
		"groups":["gold","night shift"],"not_before":"2025-06-15T15:06:40Z","previous_expires_at":"2030-01-01T00:00:00.5Z",
		"secret_token_hash":"` + saltedHash + `","ttl":90,"updated_at":1550538930`
	wantEncoded(t, full(), Encode, `{`+rest+`,"secret_token":"right","previous_secret_token":"<old>"}`)
	wantEncoded(t, full(), EncodeBase64, `{`+rest+`,"secret_token":"cmlnaHQ=","previous_secret_token":"PG9sZD4="}`)
}

func wantEncoded(t *testing.T, r *Record, encode func(*Record) ([]byte, error), want string) {
	t.Helper()
	got, err := encode(r)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(decoded(t, []byte(want)), decoded(t, got)); diff != "" || bytes.ContainsAny(got, "\n\\") {
		t.Errorf("%s: %s", diff, got)
	}
}

func decoded(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return m
}

func TestEncodedRecordsAreReadAsTheyWere(t *testing.T) {
	username := &Record{AccessToken: "a", Secret: HashedSecret("s"), Consumer: Consumer{Username: `{"id":7} "x" `}, Groups: []string{}, TTL: 1500 * time.Millisecond}
	for _, want := range []*Record{full(), username} {
		for _, f := range []struct {
			encode func(*Record) ([]byte, error)
			parse  func([]byte) (*Record, error)
		}{{Encode, Parse}, {EncodeBase64, ParseBase64}} {
			b, err := f.encode(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.parse(b)
			if err != nil {
				t.Fatalf("%s: %v", b, err)
			}
			if diff := diffRecords(want, got); diff != "" {
				t.Errorf("%s: %s", b, diff)
			}
		}
	}
}

func TestNothingIsWrittenThatCannotBeRead(t *testing.T) {
	tests := map[string]struct {
		change func(*Record)
		reason string
	}{
		"no access token":           {func(r *Record) { r.AccessToken = "" }, "access_token"},
		"malformed access token":    {func(r *Record) { r.AccessToken = "a/b" }, "access_token"},
		"no secret":                 {func(r *Record) { r.Secret = Secret{} }, "secret_token"},
		"hash of another secret":    {func(r *Record) { r.Secret.Hash = newHash("wrong") }, "secret_token_hash"},
		"line end after the secret": {func(r *Record) { r.Secret = PlainSecret("s\n") }, "secret_token"},
		"no consumer":               {func(r *Record) { r.Consumer = Consumer{} }, "consumer"},
		"ttl too long":              {func(r *Record) { r.TTL = 2 * maxTTL }, "ttl"},
		"previous without an end":   {func(r *Record) { r.PreviousExpiresAt = time.Time{} }, "previous_secret_token"},
		"end without a previous":    {func(r *Record) { r.Previous = Secret{} }, "previous_expires_at"},
		"end before 1970":           {func(r *Record) { r.ExpiresAt = time.Unix(-1, 0) }, "expires_at"},
		"comma in a group":          {func(r *Record) { r.Groups = []string{"a,b"} }, "groups"},
		"no addresses":              {func(r *Record) { r.AllowedIPs = []netip.Prefix{} }, "allowed_ips"},
		"too large":                 {func(r *Record) { r.Description = strings.Repeat("d", MaxRecord) }, "size"},
		"not UTF-8":                 {func(r *Record) { r.Secret = PlainSecret("\xff") }, "secret_token"},
	}
	for name, tt := range tests {
		r := full()
		tt.change(r)
		if b, err := Encode(r); b != nil || reasonOf(err) != tt.reason {
			t.Errorf("%s: %s, %v, want an UnusableError of %s", name, b, err, tt.reason)
		}
	}
}

// What others wrote into a record is theirs, and so is the form in which they wrote it.
func TestChangeKeepsWhatItDoesNotChange(t *testing.T) {
	const stored = "\ufeff" + `{"access_token":"ac-1","secret_token":"right\n","consumer":"{\"username\":\"alice\"}","ttl":"soon","expires_at":"1893456000",
		"enabled":"true","groups":"gold,silver","created_at":1550538920.25,"note":null,"tags":[{"a":1e999}],"n":12345678901234567890,"html":"<&>",
		"previous_secret_token_hash":"` + hashOfRight + `"}`
	tests := map[string]struct {
		change func(*Record)
		set    map[string]string // JSON; "" for deleted
	}{
		"nothing": {func(*Record) {}, nil},
		"rotation": {func(r *Record) { r.Rotate(PlainSecret("new"), now.Add(time.Hour), now) }, map[string]string{
			"secret_token": `"new"`, "previous_secret_token": `"right"`, "previous_secret_token_hash": "", "previous_expires_at": `"2025-06-15T16:06:40Z"`, "updated_at": `1750000000`,
		}},
		"rotation at once": {func(r *Record) { r.Rotate(PlainSecret("new"), now, now) }, map[string]string{"secret_token": `"new"`, "updated_at": `1750000000`}},
		"disabled":         {func(r *Record) { r.Disabled = true }, map[string]string{"enabled": `false`}},
		"no groups":        {func(r *Record) { r.Groups = nil }, map[string]string{"groups": ""}},
		"no end":           {func(r *Record) { r.ExpiresAt = time.Time{} }, map[string]string{"expires_at": ""}},
		"consumer and ttl": {func(r *Record) { r.Consumer = Consumer{ID: consumerID}; r.TTL = time.Minute }, map[string]string{"consumer": `{"id":"` + consumerID + `"}`, "ttl": `60`}},
	}
	for name, tt := range tests {
		got, err := Change([]byte(stored), func(r *Record) error { tt.change(r); return nil })
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := decoded(t, []byte(strings.TrimPrefix(stored, "\ufeff")))
		for field, value := range tt.set {
			delete(want, field)
			if value != "" {
				want[field] = decoded(t, []byte(`{"v":`+value+`}`))["v"]
			}
		}
		if diff := cmp.Diff(want, decoded(t, got)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestHashTakesThePlaceOfTheSecretToken(t *testing.T) {
	got, err := ChangeBase64([]byte(`{"access_token":"ac-1","secret_token":"cmlnaHQ","consumer":"alice"}`), func(r *Record) error {
		hash, err := parseHash(hashOfRight)
		r.Secret = Secret{Hash: hash}
		return err
	})
	want := map[string]any{"access_token": "ac-1", "secret_token_hash": hashOfRight, "consumer": "alice"}
	if err != nil || !cmp.Equal(want, decoded(t, got)) {
		t.Errorf("%s, %v", got, err)
	}
}

func TestChangeFails(t *testing.T) {
	own := errors.New("own")
	for name, tt := range map[string]struct {
		stored string
		err    error
		want   string
	}{
		"its own error": {`{}`, own, ""},
		"not JSON":      {`{`, nil, "json"},
		"unusable":      {`{"access_token":"ac-1"}`, nil, "secret_token"},
		"empty":         {`{}`, nil, "access_token"},
	} {
		b, err := Change([]byte(tt.stored), func(*Record) error { return tt.err })
		if b != nil || err == nil || reasonOf(err) != tt.want || tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
}

// Whatever can be read can be changed: it is the same afterwards, but for the change.
func FuzzChange(f *testing.F) {
	f.Add([]byte(with(`"ttl":"soon","note":null,"enabled":"true","expires_at":"1893456000.5"`)))
	f.Add([]byte(withHash(`"groups":"a,b","allowed_ips":"::ffff:10.0.0.1"`)))
	f.Add([]byte(with(`"previous_secret_token":" old\n\n","previous_expires_at":1750000000`)))
	f.Add([]byte(`{"access_token":"ac-1","secret_token":"s","consumer":"{\"id\":\"` + consumerID + `\"}"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		before, err := Parse(b)
		if err != nil || before.Secret.Token != withoutLineEnd(before.Secret.Token) {
			return // a line end that was meant can't be written
		}
		changed, err := Change(b, func(r *Record) error {
			r.Rotate(HashedSecret("new"), now.Add(time.Hour), now)
			return nil
		})
		if err != nil {
			if reasonOf(err) != "size" {
				t.Errorf("%s: %v", b, err)
			}
			return
		}
		after, err := Parse(changed)
		if err != nil || !after.Secret.Hash.Matches("new") || after.Secret.Token != "" {
			t.Fatalf("%s became %s: %v", b, changed, err)
		}
		before.Rotate(after.Secret, now.Add(time.Hour), now)
		before.Flaws, after.Flaws = nil, nil
		if diff := diffRecords(before, after); diff != "" {
			t.Errorf("%s became %s: %s", b, changed, diff)
		}
	})
}
