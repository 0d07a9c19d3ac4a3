package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const consumerID = "2ba4ba8a-4b3c-4c4f-9a0e-0d2a1e6c9a11"

// plain gives go-cmp the fields without the methods that hide them.
type plain Record

func diffRecords(want, got *Record) string {
	return cmp.Diff((*plain)(want), (*plain)(got), cmpopts.EquateComparable(netip.Prefix{}))
}

// problems is the fields of a record's problems.
func problems(r *Record, now time.Time) string {
	var fields []string
	for _, p := range r.Problems(now) {
		if p.Detail == "" || p.Remedy == "" {
			fields = append(fields, "incomplete")
		}
		fields = append(fields, p.Field)
	}
	return strings.Join(fields, " ")
}

// with is a valid record with more members, given as JSON without braces.
func with(members string) string {
	return `{"access_token":"ac-1","secret_token":"right","consumer":"alice",` + members + `}`
}

func TestParseReadsWhatKongEnterpriseWrites(t *testing.T) {
	got, err := Parse([]byte(`{"access_token": "ac-1", "secret_token": "right", "created_at": 1550538920,
		"updated_at": 1550538930, "ttl": 86400, "consumer": {"id": "` + consumerID + `"}, "tags": [{"a": [1]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Record{
		AccessToken: "ac-1",
		Secret:      Secret{Token: "right"},
		TTL:         24 * time.Hour,
		Consumer:    Consumer{ID: consumerID},
		CreatedAt:   time.Unix(1550538920, 0),
		UpdatedAt:   time.Unix(1550538930, 0),
	}
	if diff := diffRecords(want, got); diff != "" || problems(got, time.Now()) != "" {
		t.Errorf("%s, problems: %v", diff, got.Problems(time.Now()))
	}
}

// vault kv put writes every value as a string.
func TestParseReadsWhatTheVaultCLIWrites(t *testing.T) {
	got, err := Parse([]byte(`{"access_token":"ac-1","secret_token":"right","ttl":"90","created_at":"1550538920",
		"expires_at":"1850538920.5","previous_secret_token":"old","previous_expires_at":"1750000000",
		"consumer":"{\"username\":\"alice\"}"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Record{
		AccessToken:       "ac-1",
		Secret:            Secret{Token: "right"},
		Previous:          Secret{Token: "old"},
		PreviousExpiresAt: time.Unix(1750000000, 0),
		ExpiresAt:         time.Unix(1850538920, 5e8),
		TTL:               90 * time.Second,
		Consumer:          Consumer{Username: "alice"},
		CreatedAt:         time.Unix(1550538920, 0),
	}
	if diff := diffRecords(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseConsumer(t *testing.T) {
	byID, byName := Consumer{ID: consumerID}, Consumer{Username: "alice"}
	tests := []struct {
		consumer string // JSON
		want     Consumer
	}{
		{`{"id":"` + consumerID + `"}`, byID},
		{`{"id":"` + strings.ToUpper(consumerID) + `"}`, byID},
		{`{"id":"` + consumerID + `","username":"alice"}`, byID},
		{`{"id":null,"username":"alice","custom_id":7}`, byName},
		{`{"id":"","username":"alice"}`, byName},
		{`"` + consumerID + `"`, byID},
		{`"alice"`, byName},
		{`"\"alice\""`, byName},
		{`"{\"id\":\"` + consumerID + `\"}"`, byID},
		{`" {\"username\":\"alice\"}\n"`, byName},
		{`" alice"`, Consumer{Username: " alice"}},
		{`"alice\n"`, byName}, // consumer=@file
		{`"` + consumerID + `\r\n"`, byID},
		{`"{"`, Consumer{}},
		{`"\""`, Consumer{}},
		{`"\"\""`, Consumer{}},
		{`""`, Consumer{}},
		{`null`, Consumer{}},
		{`7`, Consumer{}},
		{`["alice"]`, Consumer{}},
		{`{}`, Consumer{}},
		{`{"ID":"` + consumerID + `"}`, Consumer{}},
		{`{"id":"alice","username":"alice"}`, Consumer{}},
		{`{"id":7}`, Consumer{}},
		{`{"id":"{` + consumerID[1:35] + `}"}`, Consumer{}},
		{`{"username":7}`, Consumer{}},
		{`{"username":"alice","username":"bob"}`, Consumer{}},
	}
	for _, tt := range tests {
		r, err := Parse([]byte(`{"access_token":"ac-1","secret_token":"right","consumer":` + tt.consumer + `}`))
		var got Consumer
		if err == nil {
			got = r.Consumer
		} else if reason := reasonOf(err); reason != "consumer" {
			t.Errorf("consumer %s: %v", tt.consumer, err)
		}
		if got != tt.want {
			t.Errorf("consumer %s = %+v, want %+v", tt.consumer, got, tt.want)
		}
	}
}

func TestParseTTL(t *testing.T) {
	const most = 1e8 * time.Second
	silent := map[string]time.Duration{
		`86400`: 24 * time.Hour, `1.5`: 1500 * time.Millisecond, `1e3`: 1000 * time.Second,
		`"86400"`: 24 * time.Hour, `" 60 "`: time.Minute, `"060"`: time.Minute, `"30m"`: 30 * time.Minute,
		`"1h30m"`: 90 * time.Minute, `"2d"`: 48 * time.Hour, `"500ms"`: 500 * time.Millisecond, `"60\n"`: time.Minute,
		`1e18`: most, `1e300`: most, `"99999999999"`: most, `"4000000000d"`: most, `"2540400h"`: most,
		`null`: 0, `""`: 0, `0`: 0, `"0"`: 0, `"0s"`: 0, `1e-12`: 0,
	}
	for ttl, want := range silent {
		wantTTL(t, ttl, want, "")
	}
	for _, ttl := range []string{
		`-1`, `"-30m"`, `-1e300`, `1e999`, `" "`,
		`"NaN"`, `"nan"`, `"Inf"`, `"-Infinity"`, `"0x10"`, `"1_000"`, `"1e"`, `"."`,
		`"soon"`, `"d"`, `"-2d"`, `"1.5d"`, `"1d12h"`, `"9999999999h"`,
		`true`, `[60]`, `{"seconds":60}`,
	} {
		wantTTL(t, ttl, 0, "ttl")
	}
}

func wantTTL(t *testing.T, ttl string, want time.Duration, problem string) {
	t.Helper()
	r, err := Parse([]byte(with(`"ttl":` + ttl)))
	if err != nil {
		t.Errorf("ttl %s: %v", ttl, err)
	} else if got := problems(r, time.Now()); r.TTL != want || got != problem {
		t.Errorf("ttl %s = %v, want %v; problems %q, want %q", ttl, r.TTL, want, got, problem)
	}
}

// A pair that was meant to end must not live on because its end is misspelt.
func TestParseExpiresAt(t *testing.T) {
	unusable := time.Unix(-1, 0)
	tests := map[string]time.Time{
		`1750000000`: time.Unix(1750000000, 0), `"1750000000"`: time.Unix(1750000000, 0),
		`"1750000000\n"`: time.Unix(1750000000, 0),
		`null`:           {}, `""`: {},
		`"2030-01-01T00:00:00Z"`: time.Unix(1893456000, 0), `"2030-01-01t02:00:00.5+02:00"`: time.Unix(1893456000, 5e8),
		`"9999-12-31T23:59:59Z"`: time.Unix(maxTime, 0), `253402300799`: time.Unix(maxTime, 0),
		`0`: unusable, `"0"`: unusable, `-5`: unusable, `-1e300`: unusable, `"1970-01-01T00:00:00Z"`: unusable, `"0001-01-01T00:00:00Z"`: unusable,
		`1750000000000`: unusable, `"1750000000000"`: unusable, `1750000000000000000`: unusable, `1e300`: unusable, `1e999`: unusable,
		`"NaN"`: unusable, `"+Inf"`: unusable, `"2030-01-01"`: unusable, `"2030-01-01 00:00:00"`: unusable, `"2030-02-30T00:00:00Z"`: unusable,
		`"never"`: unusable, `" "`: unusable,
		`false`: unusable, `{}`: unusable, `[]`: unusable,
	}
	for expires, want := range tests {
		r, err := Parse([]byte(with(`"expires_at":` + expires)))
		got := unusable
		if err == nil {
			got = r.ExpiresAt
		} else if reason := reasonOf(err); reason != "expires_at" {
			t.Errorf("expires_at %s: %v", expires, err)
		}
		if !got.Equal(want) {
			t.Errorf("expires_at %s = %v, want %v", expires, got, want)
		}
	}
}

// The error tells an operator which of the wrong ways to write a time it is.
func TestTimesThatCannotBeMeantSayWhy(t *testing.T) {
	for end, want := range map[string]string{
		`0`:                      "it is 0",
		`"0"`:                    "it is 0",
		`1893456000000`:          "milliseconds",
		`"1893456000000"`:        "milliseconds",
		`-1`:                     "before 1970",
		`"1969-01-01T00:00:00Z"`: "before 1970",
		`"soon"`:                 "not a time",
		`true`:                   "not a time",
	} {
		_, err := Parse([]byte(with(`"expires_at":` + end)))
		if err == nil || !strings.Contains(err.Error(), "expires_at: ") || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "RFC 3339") {
			t.Errorf("expires_at %s: %v, want %q", end, err, want)
		}
		r, err := Parse([]byte(with(`"previous_secret_token":"old","previous_expires_at":` + end)))
		if err != nil || r.Previous.Token != "" || len(r.Problems(time.Now())) != 1 ||
			!strings.Contains(r.Problems(time.Now())[0].String(), want) {
			t.Errorf("previous_expires_at %s: %v, %v, want %q", end, err, r.Problems(time.Now()), want)
		}
	}
}

func TestPreviousSecretWithoutAClearEndIsIgnored(t *testing.T) {
	for members, problem := range map[string]string{
		`"previous_secret_token":"old"`:                                                                "previous_expires_at",
		`"previous_secret_token":"old","previous_expires_at":null`:                                     "previous_expires_at",
		`"previous_secret_token":"old","previous_expires_at":""`:                                       "previous_expires_at",
		`"previous_secret_token":"old","previous_expires_at":"soon"`:                                   "previous_expires_at",
		`"previous_secret_token":"old","previous_expires_at":0`:                                        "previous_expires_at",
		`"previous_secret_token":"old","previous_expires_at":1750000000000`:                            "previous_expires_at",
		`"previous_secret_token":"old","previousExpiresAt":1750000000`:                                 "previous_expires_at previous_expires_at",
		`"previous_secret_token":7,"previous_expires_at":1750000000`:                                   "previous_secret_token",
		`"previous_secret_token":"\n","previous_expires_at":1750000000`:                                "previous_secret_token",
		`"previous_secret_token":"` + strings.Repeat("s", 4097) + `","previous_expires_at":1750000000`: "previous_secret_token",
		`"previous_secret_token":"","previous_expires_at":1750000000`:                                  "",
		`"previous_expires_at":1750000000`:                                                             "",
	} {
		r, err := Parse([]byte(with(members)))
		if err != nil {
			t.Errorf("%.80s: %v", members, err)
			continue
		}
		if got := problems(r, time.Now()); got != problem || r.Previous.Token != "" || !r.PreviousExpiresAt.IsZero() {
			t.Errorf("%.80s: %q until %v; problems %q, want %q", members, r.Previous.Token, r.PreviousExpiresAt, got, problem)
		}
	}
}

func TestGracePeriodThatIsTooLongIsReported(t *testing.T) {
	end := time.Unix(1893456000, 0)
	r, err := Parse([]byte(with(`"previous_secret_token":"old","previous_expires_at":"2030-01-01T00:00:00Z"`)))
	if err != nil || r.Previous.Token != "old" || !r.PreviousExpiresAt.Equal(end) {
		t.Fatalf("%v, %v", (*plain)(r), err)
	}
	for ahead, want := range map[time.Duration]string{-time.Hour: "", MaxGrace: "", MaxGrace + 1: "previous_expires_at"} {
		if got := problems(r, end.Add(-ahead)); got != want {
			t.Errorf("%v ahead: problems %q, want %q", ahead, got, want)
		}
	}
}

func TestFieldsInAnotherSpellingAreReported(t *testing.T) {
	for members, want := range map[string]string{
		`"Expires-At":1750000000`:                   "expires_at",
		`"expiresAt":1750000000`:                    "expires_at",
		`"TTL":60`:                                  "ttl",
		`"ttl":60,"TTL":60`:                         "",
		`"expires":1750000000,"note":"", "Tags":""`: "",
		`"Enabled":false`:                           "enabled",
		`"notBefore":1750000000`:                    "not_before",
		`"allowed-ips":"192.0.2.1"`:                 "allowed_ips",
		`"Groups":"gold"`:                           "groups",
		`"secretTokenHash":"` + hashOfRight + `"`:   "secret_token_hash",
	} {
		r, err := Parse([]byte(with(members)))
		if err != nil || problems(r, time.Now()) != want {
			t.Errorf("%s: %v, problems %q, want %q", members, err, problems(r, time.Now()), want)
		}
	}
}

func TestUnreadableTimesOfWritingAreIgnored(t *testing.T) {
	r, err := Parse([]byte(with(`"created_at":"yesterday","updated_at":{}`)))
	if err != nil || !r.CreatedAt.IsZero() || !r.UpdatedAt.IsZero() {
		t.Errorf("Parse = %v, %v", (*plain)(r), err)
	}
}

func TestUnusableRecords(t *testing.T) {
	deep := strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000)
	tests := []struct {
		name, reason, record string
	}{
		{"empty", "json", ""},
		{"not JSON", "json", "s3cr3t"},
		{"not an object", "json", `["s3cr3t"]`},
		{"null", "json", `null`},
		{"cut off", "json", `{"access_token":"ac-1","secret_token":"s3cr3t`},
		{"something after it", "json", with(`"ttl":1`) + `{"secret_token":"s3cr3t"}`},
		{"not UTF-8", "json", with(`"note":"s3cr3t` + "\xff" + `"`)},
		{"nested too deep", "json", with(`"note":` + deep)},
		{"secret given twice", "json", with(`"secret_token":"s3cr3t"`)},
		{"secret given twice, once escaped", "json", with(`"secret\u005ftoken":"s3cr3t"`)},
		{"secret given twice, once as null", "json", with(`"secret_token":null`)},
		{"too large", "size", with(`"note":"` + strings.Repeat("s3cr3t", 11_000) + `"`)},
		{"no access token", "access_token", `{"secret_token":"s3cr3t","consumer":"alice"}`},
		{"empty access token", "access_token", `{"access_token":"","secret_token":"s3cr3t","consumer":"alice"}`},
		{"access token no string", "access_token", `{"access_token":1,"secret_token":"s3cr3t","consumer":"alice"}`},
		{"access token malformed", "access_token", `{"access_token":"s3cr3t/..","secret_token":"s3cr3t","consumer":"alice"}`},
		{"no secret token", "secret_token", `{"access_token":"ac-1","consumer":"alice"}`},
		{"other case", "secret_token", `{"access_token":"ac-1","Secret_Token":"s3cr3t","consumer":"alice"}`},
		{"null secret token", "secret_token", `{"access_token":"ac-1","secret_token":null,"consumer":"alice"}`},
		{"empty secret token", "secret_token", `{"access_token":"ac-1","secret_token":"","consumer":"alice"}`},
		{"secret token no string", "secret_token", `{"access_token":"ac-1","secret_token":12345,"consumer":"alice"}`},
		{"secret token too long", "secret_token", `{"access_token":"ac-1","secret_token":"` + strings.Repeat("s3cr3t", 700) + `","consumer":"alice"}`},
		{"secret token with half a surrogate pair", "secret_token", `{"access_token":"ac-1","secret_token":"\ud800","consumer":"alice"}`},
		{"no consumer", "consumer", `{"access_token":"ac-1","secret_token":"s3cr3t"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse([]byte(tt.record))
			if r != nil || reasonOf(err) != tt.reason {
				t.Fatalf("Parse = %v, %v; want an UnusableError of %s", r, err, tt.reason)
			}
			if !strings.HasSuffix(err.Error(), ")") {
				t.Errorf("no remedy: %v", err)
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("the error holds the secret: %v", err)
			}
		})
	}
}

func TestOneLineEndIsDroppedFromSecretsAndNothingElse(t *testing.T) {
	for _, tt := range []struct{ stored, secret, problem string }{
		{"s", "s", ""},
		{"s\n", "s", ""}, // secret_token=@file
		{"s\r\n", "s", ""},
		{"s\n\n", "s\n", "secret_token"},
		{"\ns", "\ns", "secret_token"},
		{" ", " ", "secret_token"},
		{" s \n", " s ", "secret_token"},
		{"s\t", "s\t", "secret_token"},
		{"\ufeffs", "\ufeffs", "secret_token"},
		{"s\x00t", "s\x00t", "secret_token"},
		{"s\nt", "s\nt", "secret_token"},
		{"s t\tu", "s t\tu", ""},
		{"\u00a0s", "\u00a0s", ""},
		{strings.Repeat("s", 4096) + "\n", strings.Repeat("s", 4096), ""},
	} {
		stored, err := json.Marshal(tt.stored)
		if err != nil {
			t.Fatal(err)
		}
		for read, record := range map[string][]byte{
			"Parse":       fmt.Appendf(nil, `{"access_token":"ac-1\n","secret_token":%s,"consumer":"alice"}`, stored),
			"ParseBase64": fmt.Appendf(nil, `{"access_token":"ac-1\n","secret_token":%q,"consumer":"alice"}`, base64.StdEncoding.EncodeToString([]byte(tt.stored))),
		} {
			parse := map[string]func([]byte) (*Record, error){"Parse": Parse, "ParseBase64": ParseBase64}[read]
			r, err := parse(record)
			if err != nil || r.AccessToken != "ac-1" || r.Secret.Token != tt.secret || problems(r, time.Now()) != tt.problem {
				t.Errorf("%s of %.20q: %v, %v", read, tt.stored, err, (*plain)(r))
			}
		}
	}
	if _, err := Parse([]byte(`{"access_token":"ac-1","secret_token":"\n","consumer":"alice"}`)); reasonOf(err) != "secret_token" {
		t.Errorf("a secret that is a line end: %v", err)
	}
}

func TestParseBase64(t *testing.T) {
	for _, tt := range []struct{ secret, previous, want, wantPrevious, problem, reason string }{
		{"cmlnaHQ=", "b2xk", "right", "old", "", ""},
		{"cmln\\naHQ", " b2x\\r\\nk", "right", "old", "", ""},
		{"right!", "b2xk", "", "", "", "secret_token"},
		{"", "b2xk", "", "", "", "secret_token"},
		{"Cg==", "b2xk", "", "", "", "secret_token"}, // a line end
		{"/w==", "b2xk", "\xff", "old", "", ""},
		{"cmlnaHQ=", "old!", "right", "", "previous_secret_token", ""},
	} {
		r, err := ParseBase64(fmt.Appendf(nil, `{"access_token":"ac-1","secret_token":"%s","consumer":"alice",
			"previous_secret_token":"%s","previous_expires_at":1750000000}`, tt.secret, tt.previous))
		if reasonOf(err) != tt.reason {
			t.Errorf("%q: %v", tt.secret, err)
		}
		if err == nil && (r.Secret.Token != tt.want || r.Previous.Token != tt.wantPrevious || problems(r, time.Now()) != tt.problem) {
			t.Errorf("%q, %q: %v, problems %q", tt.secret, tt.previous, (*plain)(r), problems(r, time.Now()))
		}
	}
}

func TestByteOrderMarkBeforeARecordIsSkipped(t *testing.T) {
	r, err := Parse([]byte("\ufeff" + with(`"ttl":60`)))
	if err != nil || r.Secret.Token != "right" || problems(r, time.Now()) != "" {
		t.Errorf("%v, %v", r, err)
	}
}

func TestLargestRecord(t *testing.T) {
	record := []byte(with(`"note":""`))
	record = bytes.Replace(record, []byte(`""`), []byte(`"`+strings.Repeat("x", MaxRecord-len(record))+`"`), 1)
	if _, err := Parse(record); len(record) != MaxRecord || err != nil {
		t.Errorf("a record of %d bytes: %v", len(record), err)
	}
}

// withHash is a valid record that has a hash instead of its secret token.
func withHash(members string) string {
	return `{"access_token":"ac-1","secret_token_hash":"` + hashOfRight + `","consumer":"alice",` + members + `}`
}

func TestHashesBesideAndInsteadOfSecretTokens(t *testing.T) {
	right, _ := parseHash(hashOfRight)
	salted, _ := parseHash(saltedHash)
	const until = `,"previous_expires_at":1750000000`
	tests := []struct {
		record                  string
		secret, previous        Secret
		reason, detail, problem string
	}{
		{record: withHash(`"ttl":60`), secret: Secret{Hash: right}},
		{record: withHash(`"secret_token":""`), secret: Secret{Hash: right}}, // vault kv patch secret_token=
		{record: withHash(`"secret_token":null`), secret: Secret{Hash: right}},
		{record: withHash(`"secret_token":"right\n"`), secret: Secret{"right", right}},
		{record: with(`"secret_token_hash":"` + saltedHash + `\n"`), secret: Secret{"right", salted}},
		{record: with(`"secret_token_hash":""`), secret: Secret{Token: "right"}},
		{record: with(`"secret_token_hash":null`), secret: Secret{Token: "right"}},
		{record: withHash(`"secret_token":"wrong"`), reason: "secret_token_hash", detail: "not the hash"},
		{record: withHash(`"secret_token":7`), reason: "secret_token", detail: "not a string"},
		{record: with(`"secret_token_hash":7`), reason: "secret_token_hash", detail: "not a string"},
		{record: with(`"secret_token_hash":"right"`), reason: "secret_token_hash", detail: "begin"},
		{record: with(`"secret_token_hash":"` + bcryptExample + `"`), reason: "secret_token_hash", detail: "slow"},
		{record: `{"access_token":"ac-1","secret_token_hash":"","consumer":"alice"}`, reason: "secret_token", detail: "missing"},
		{record: withHash(`"previous_secret_token_hash":"` + saltedHash + `"` + until), secret: Secret{Hash: right}, previous: Secret{Hash: salted}},
		{record: withHash(`"previous_secret_token":"old"` + until), secret: Secret{Hash: right}, previous: Secret{Token: "old"}},
		{record: with(`"previous_secret_token":"right","previous_secret_token_hash":"` + hashOfRight + `"` + until), secret: Secret{Token: "right"}, previous: Secret{"right", right}},
		{record: with(`"previous_secret_token":"old","previous_secret_token_hash":"` + hashOfRight + `"` + until), secret: Secret{Token: "right"}, problem: "previous_secret_token_hash"},
		{record: with(`"previous_secret_token_hash":"` + bcryptExample + `"` + until), secret: Secret{Token: "right"}, problem: "previous_secret_token_hash"},
		{record: with(`"previous_secret_token_hash":"` + hashOfRight + `"`), secret: Secret{Token: "right"}, problem: "previous_expires_at"},
	}
	for _, tt := range tests {
		r, err := Parse([]byte(tt.record))
		if reasonOf(err) != tt.reason || err != nil && !strings.Contains(err.Error(), tt.detail) {
			t.Errorf("%s: %v, want %q about %q", tt.record, err, tt.detail, tt.reason)
		}
		if err == nil && (r.Secret != tt.secret || r.Previous != tt.previous || problems(r, time.Unix(1750000000, 0)) != tt.problem) {
			t.Errorf("%s: %+v, problems %v", tt.record, (*plain)(r), r.Problems(time.Now()))
		}
	}
}

func TestHashIsOfTheSecretTokenAndNotOfItsBase64(t *testing.T) {
	r, err := ParseBase64([]byte(`{"access_token":"ac-1","secret_token":"cmlnaHQ=","secret_token_hash":"` + hashOfRight + `","consumer":"alice"}`))
	if err != nil || r.Secret.Token != "right" || r.Secret.Hash.String() != hashOfRight {
		t.Errorf("%v, %v", (*plain)(r), err)
	}
}

func TestSecretTokenThatWasNotCopiedWholeIsUnusable(t *testing.T) {
	_, err := Parse([]byte(`{"access_token":"ac-1","secret_token":"kva_0123456789ABCDEFGHIJKLMNOPQRSTUV_000000","consumer":"alice"}`))
	if reasonOf(err) != "secret_token" || !strings.Contains(err.Error(), "checksum") {
		t.Error(err)
	}
}

// A field that restricts a credential must not count as missing because of a typing error.
func TestRestrictions(t *testing.T) {
	prefixes := func(s ...string) (all []netip.Prefix) {
		for _, p := range s {
			all = append(all, netip.MustParsePrefix(p))
		}
		return all
	}
	right := Record{AccessToken: "ac-1", Secret: PlainSecret("right"), Consumer: Consumer{Username: "alice"}}
	tests := []struct {
		field   string
		values  []string // JSON
		want    func(*Record)
		refused bool
	}{
		{field: "enabled", values: []string{`true`, `"true"`, `"true\n"`, `null`}, want: func(*Record) {}},
		{field: "enabled", values: []string{`false`, `"false"`, `"false\n"`}, want: func(r *Record) { r.Disabled = true }},
		{field: "enabled", values: []string{`""`, `0`, `1`, `"1"`, `"no"`, `"False"`, `" false"`, `{}`, `[]`, `["true"]`}, refused: true},

		{field: "not_before", values: []string{`null`, `""`}, want: func(*Record) {}},
		{field: "not_before", values: []string{`1893456000`, `"1893456000"`, `"2030-01-01T00:00:00Z"`}, want: func(r *Record) { r.NotBefore = time.Unix(1893456000, 0) }},
		{field: "not_before", values: []string{`0`, `-1`, `1893456000000`, `"tomorrow"`, `"2030-01-01"`, `true`, `{}`}, refused: true},

		{field: "allowed_ips", values: []string{`null`}, want: func(*Record) {}},
		{field: "allowed_ips", values: []string{
			`["192.0.2.7","10.1.2.3/8","2001:db8::1","2001:db8:1::/48"]`,
			`"192.0.2.7,10.0.0.0/8, 2001:DB8::1 ,2001:db8:1::/48\n"`,
			`"[\"192.0.2.7\", \"10.0.0.0/8\", \"2001:db8::1\", \"2001:db8:1::/48\"]"`,
			`["::ffff:192.0.2.7","::ffff:10.0.0.0/104","2001:0db8::1"," 2001:db8:1::5/48"]`,
		}, want: func(r *Record) {
			r.AllowedIPs = prefixes("192.0.2.7/32", "10.0.0.0/8", "2001:db8::1/128", "2001:db8:1::/48")
		}},
		{field: "allowed_ips", values: []string{`"0.0.0.0/0,::/0"`}, want: func(r *Record) { r.AllowedIPs = prefixes("0.0.0.0/0", "::/0") }},
		{field: "allowed_ips", values: []string{
			`""`, `" "`, `[]`, `"[]"`, `[""]`, `"192.0.2.7,"`, `["192.0.2.7",null]`, `[["192.0.2.7"]]`, `["192.0.2.7",7]`, `7`, `true`, `{}`, `"[\"192.0.2.7\""`,
			`"192.0.2.7 192.0.2.8"`, `["192.0.2.7,192.0.2.8"]`, `"192.0.2"`, `"192.0.2.*"`, `"192.0.2.256"`, `"192.0.2.0/33"`, `"192.0.2.0/-1"`, `"192.0.2.0/"`,
			`"192.0.2.0/255.255.255.0"`, `"192.0.2.1-192.0.2.9"`, `"192.0.02.7"`, `"2001:db8::/129"`, `"fe80::1%eth0"`, `"fe80::%eth0/64"`, `"::ffff:10.0.0.0/90"`,
			`"example.com"`, `"192.0.2.7:80"`, `"[2001:db8::1]"`,
		}, refused: true},

		{field: "groups", values: []string{`null`}, want: func(*Record) {}},
		{field: "groups", values: []string{`["gold","night shift"]`, `"gold, night shift"`, `"[\"gold\",\"night shift\"]"`, `" gold ,night shift\n"`}, want: func(r *Record) { r.Groups = []string{"gold", "night shift"} }},
		{field: "groups", values: []string{`[]`, `""`, `" "`, `"[]"`}, want: func(r *Record) { r.Groups = []string{} }},
		{field: "groups", values: []string{`[""]`, `"gold,,silver"`, `"gold,"`, `["gold",7]`, `["gold",null]`, `["gold,silver"]`, `["go\nld"]`, `["\ud800"]`, `7`, `true`, `{"a":"b"}`, `"[gold"`}, refused: true},

		{field: "description", values: []string{`"for the nightly job"`, `"for the nightly job\n"`}, want: func(r *Record) { r.Description = "for the nightly job" }},
		{field: "description", values: []string{`""`, `7`, `null`, `{}`}, want: func(*Record) {}},
		{field: "created_by", values: []string{`"ops@example.com"`}, want: func(r *Record) { r.CreatedBy = "ops@example.com" }},
		{field: "created_by", values: []string{`""`, `7`, `["a"]`}, want: func(*Record) {}},
	}
	for _, tt := range tests {
		for _, value := range tt.values {
			r, err := Parse([]byte(with(`"` + tt.field + `":` + value)))
			switch {
			case tt.refused && (reasonOf(err) != tt.field || !strings.HasSuffix(err.Error(), ")")):
				t.Errorf("%s %s: %v, want it to be refused with a remedy", tt.field, value, err)
			case tt.refused:
			case err != nil:
				t.Errorf("%s %s: %v", tt.field, value, err)
			default:
				want := right
				tt.want(&want)
				if diff := diffRecords(&want, r); diff != "" {
					t.Errorf("%s %s: %s", tt.field, value, diff)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(with(`"ttl":"30m","expires_at":1750000000`)))
	f.Add([]byte(with(`"previous_secret_token":"old","previous_expires_at":"1750000000"`)))
	f.Add([]byte(withHash(`"previous_secret_token_hash":"` + hashOfRight + `","previous_expires_at":1750000000`)))
	f.Add([]byte(with(`"enabled":"false","not_before":"2030-01-01T00:00:00Z","description":"d","created_by":"c"`)))
	f.Add([]byte(with(`"allowed_ips":"192.0.2.0/24, ::ffff:10.0.0.1,2001:db8::/32","groups":["a","b c"]`)))
	f.Add([]byte(with(`"allowed_ips":["::ffff:0.0.0.0/90"],"groups":"[\"a\",null]"`)))
	f.Add([]byte(`{"access_token":"ac-1","secret_token":"s","consumer":"{\"id\":\"` + consumerID + `\"}"}`))
	f.Add([]byte(`{"access_token":"ac-1","secret_token":"s","consumer":"\"\\\"\""}`))
	f.Add([]byte(`{"access_token":"\ud800","a":{"a":[1e999,-0.0]},"a":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			if reasonOf(err) == "" || r != nil {
				t.Errorf("Parse = %v, %v", r, err)
			}
			return
		}
		if CheckAccessToken(r.AccessToken) != nil {
			t.Errorf("access token %q", r.AccessToken)
		}
		for _, secret := range []Secret{r.Secret, r.Previous} {
			if len(secret.Token) > MaxSecretToken || !utf8.ValidString(secret.Token) || badChecksum(secret.Token) {
				t.Errorf("secret token %q", secret.Token)
			}
			if h, err := parseHash(secret.Hash.String()); !secret.Hash.IsZero() && (err != nil || h != secret.Hash || secret.Token != "" && !h.Matches(secret.Token)) {
				t.Errorf("hash %q of %q", secret.Hash, secret.Token)
			}
		}
		if r.Secret.IsZero() || r.Previous.IsZero() != r.PreviousExpiresAt.IsZero() {
			t.Errorf("secrets of %#v", (*plain)(r))
		}
		for _, p := range r.AllowedIPs {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || p.Addr().Zone() != "" {
				t.Errorf("allowed range %v", p)
			}
		}
		if r.AllowedIPs != nil && len(r.AllowedIPs) == 0 || slices.Contains(r.Groups, "") {
			t.Errorf("allowed %v, groups %q", r.AllowedIPs, r.Groups)
		}
		if (r.Consumer.ID == "") == (r.Consumer.Username == "") {
			t.Errorf("consumer %+v", r.Consumer)
		}
		for _, p := range r.Problems(time.Unix(0, 0)) {
			if !slices.Contains(append(optional, "secret_token"), p.Field) || p.Detail == "" || p.Remedy == "" {
				t.Errorf("problem %v", p)
			}
		}
		if r.TTL < 0 || r.TTL > maxTTL || r.ExpiresAt.Year() > 9999 || r.NotBefore.Year() > 9999 {
			t.Errorf("ttl %v, expires %v", r.TTL, r.ExpiresAt)
		}
	})
}

func reasonOf(err error) string {
	var unusable *UnusableError
	errors.As(err, &unusable)
	if unusable == nil {
		return ""
	}
	return unusable.Reason
}
