package credential

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDifferences(t *testing.T) {
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	base := func() *Record {
		return &Record{
			AccessToken: "alice", Secret: PlainSecret("s"), Consumer: Consumer{Username: "bob"}, TTL: time.Minute,
			Previous: PlainSecret("p"), PreviousExpiresAt: end, CreatedAt: end, CreatedBy: "olga", Groups: []string{"gold"},
		}
	}
	hash := HashedSecret("s")
	for name, tt := range map[string]struct {
		stored, wanted func(*Record)
		want           []string
	}{
		"the same":           {},
		"dates":              {wanted: func(r *Record) { r.CreatedAt, r.UpdatedAt, r.CreatedBy = time.Time{}, end, "" }},
		"ttl and consumer":   {wanted: func(r *Record) { r.TTL, r.Consumer = 0, Consumer{Username: "eve"} }, want: []string{"consumer", "ttl"}},
		"more in the store":  {stored: func(r *Record) { r.Disabled, r.ExpiresAt = true, end }, want: []string{"enabled", "expires_at"}},
		"hash in the store":  {stored: func(r *Record) { r.Secret = hash }},
		"hash wanted":        {wanted: func(r *Record) { r.Secret = hash }},
		"the same hash":      {stored: func(r *Record) { r.Secret = hash }, wanted: func(r *Record) { r.Secret = hash }},
		"another salt":       {stored: func(r *Record) { r.Secret = hash }, wanted: func(r *Record) { r.Secret = HashedSecret("s") }, want: []string{"secret_token"}},
		"another secret":     {wanted: func(r *Record) { r.Secret = PlainSecret("t") }, want: []string{"secret_token"}},
		"another hash":       {wanted: func(r *Record) { r.Secret = HashedSecret("t") }, want: []string{"secret_token"}},
		"stored hash of":     {stored: func(r *Record) { r.Secret = HashedSecret("t") }, want: []string{"secret_token"}},
		"no previous wanted": {wanted: func(r *Record) { r.Previous, r.PreviousExpiresAt = Secret{}, time.Time{} }},
		"another previous":   {wanted: func(r *Record) { r.Previous = PlainSecret("q") }, want: []string{"previous_secret_token"}},
		"another end":        {wanted: func(r *Record) { r.PreviousExpiresAt = end.Add(1) }, want: []string{"previous_secret_token"}},
		"another name":       {wanted: func(r *Record) { r.AccessToken = "ALICE" }, want: []string{"access_token"}},
	} {
		t.Run(name, func(t *testing.T) {
			stored, wanted := base(), base()
			for change, r := range map[*func(*Record)]*Record{&tt.stored: stored, &tt.wanted: wanted} {
				if *change != nil {
					(*change)(r)
				}
			}
			if diff := cmp.Diff(tt.want, Differences(stored, wanted)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
