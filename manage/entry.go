package manage

import (
	"net/netip"
	"strings"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Entry is a credential without its secrets, so it may be shown. As JSON it has the
// names of the record's fields.
type Entry struct {
	AccessToken string    `json:"access_token"`
	Fingerprint string    `json:"fingerprint"`
	Consumer    *Consumer `json:"consumer,omitempty"`
	// Stored is the form in which the store keeps the secret token: hash or plain.
	Stored            string     `json:"stored,omitempty"`
	Enabled           bool       `json:"enabled"`
	CreatedAt         *time.Time `json:"created_at,omitempty"`
	UpdatedAt         *time.Time `json:"updated_at,omitempty"`
	NotBefore         *time.Time `json:"not_before,omitempty"`
	ExpiresAt         *time.Time `json:"expires_at,omitempty"`
	PreviousExpiresAt *time.Time `json:"previous_expires_at,omitempty"`
	TTL               float64    `json:"ttl,omitempty"` // seconds
	Groups            []string   `json:"groups,omitempty"`
	AllowedIPs        []string   `json:"allowed_ips,omitempty"`
	Description       string     `json:"description,omitempty"`
	CreatedBy         string     `json:"created_by,omitempty"`
	// Problem says why the plugin would refuse the credential, or part of it.
	Problem string `json:"problem,omitempty"`
}

// Consumer is the consumer that a record names.
type Consumer struct {
	ID       string `json:"id,omitempty"`
	Username string `json:"username,omitempty"`
}

// The forms in which a store keeps a secret token.
const (
	StoredHash  = "hash"
	StoredPlain = "plain"
)

// entry is the entry for a document.
func (v *Vault) entry(accessToken string, d *secretstore.Document) Entry {
	e := Entry{AccessToken: accessToken, Fingerprint: v.Fingerprint(accessToken), Enabled: !d.Disabled, UpdatedAt: timeOf(d.Updated)}
	if d.Disabled && d.Record == nil {
		return e
	}
	r, err := v.parse(d.Record)
	if err != nil {
		e.Problem = err.Error()
		return e
	}
	shown := v.shown(r)
	if shown.UpdatedAt == nil {
		shown.UpdatedAt = e.UpdatedAt
	}
	shown.Enabled = shown.Enabled && e.Enabled
	if !strings.EqualFold(r.AccessToken, accessToken) && !strings.HasPrefix(accessToken, digestName) {
		shown.AccessToken, shown.Fingerprint = accessToken, e.Fingerprint
		shown.Problem = "access_token: it is not the name the record is stored under (store the record under its access_token)"
	}
	return shown
}

// digestName begins the names of secrets in Key Vault whose access tokens can't be names
// there.
const digestName = "sha256-"

// shown is the entry for a record.
func (v *Vault) shown(r *credential.Record) Entry {
	e := Entry{
		AccessToken: r.AccessToken,
		Fingerprint: v.Fingerprint(r.AccessToken),
		Consumer:    &Consumer{r.Consumer.ID, r.Consumer.Username},
		Stored:      StoredPlain,
		Enabled:     !r.Disabled,
		CreatedAt:   timeOf(r.CreatedAt),
		UpdatedAt:   timeOf(r.UpdatedAt),
		NotBefore:   timeOf(r.NotBefore),
		ExpiresAt:   timeOf(r.ExpiresAt),
		TTL:         r.TTL.Seconds(),
		Groups:      r.Groups,
		AllowedIPs:  rangesOf(r.AllowedIPs),
		Description: r.Description,
		CreatedBy:   r.CreatedBy,
		Problem:     problemOf(r, v.Now()),
	}
	if r.Secret.Token == "" {
		e.Stored = StoredHash
	}
	if !r.Previous.IsZero() && r.PreviousExpiresAt.After(v.Now()) {
		e.PreviousExpiresAt = timeOf(r.PreviousExpiresAt)
	}
	return e
}

func problemOf(r *credential.Record, now time.Time) string {
	if p := r.Problems(now); len(p) > 0 {
		return p[0].String()
	}
	return ""
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

func rangesOf(ranges []netip.Prefix) []string {
	var out []string
	for _, r := range ranges {
		if r.IsSingleIP() {
			out = append(out, r.Addr().String())
		} else {
			out = append(out, r.String())
		}
	}
	return out
}

// Of reports whether the credential belongs to the consumer with these names.
func (e *Entry) Of(names ...string) bool {
	for _, name := range names {
		if name != "" && e.Consumer != nil && (e.Consumer.ID == name || e.Consumer.Username == name) {
			return true
		}
	}
	return false
}

// Expired reports whether the credential's expires_at has passed.
func (e *Entry) Expired(now time.Time) bool { return e.ExpiresAt != nil && !now.Before(*e.ExpiresAt) }
