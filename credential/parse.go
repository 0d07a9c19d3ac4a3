package credential

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// UnusableError says why a record can't be used.
type UnusableError struct {
	Reason string // a short word: the name of a field, "size" or "json"
	Detail string // what is wrong with it, for operators; never holds anything of the record's values
}

// Error is the reason and the detail.
func (e *UnusableError) Error() string { return e.Reason + ": " + e.Detail }

// Parse reads a record, as JSON. It is lenient where a mistake in the record
// can do no harm (a ttl or a time of writing that can't be read counts as
// missing, and so does a previous secret without a clear end) and strict where
// it could let somebody in or keep a pair alive: such a record is an
// *UnusableError, which is the only kind of error. Unknown fields are ignored,
// null is the same as missing, and names of fields are compared exactly.
func Parse(b []byte) (*Record, error) {
	o, err := parseObject(b)
	if err != nil {
		return nil, err
	}
	r := &Record{
		TTL:       o.duration("ttl"),
		CreatedAt: o.timeOrNone("created_at"),
		UpdatedAt: o.timeOrNone("updated_at"),
	}
	if r.AccessToken, err = o.accessToken(); err != nil {
		return nil, err
	}
	if r.SecretToken, err = o.secretToken("secret_token"); err != nil {
		return nil, err
	}
	if r.Consumer, err = o.consumer(); err != nil {
		return nil, err
	}
	if r.ExpiresAt, err = o.time("expires_at"); err != nil {
		return nil, err
	}
	previous, err := o.secretToken("previous_secret_token")
	if until := o.timeOrNone("previous_expires_at"); err == nil && !until.IsZero() {
		r.PreviousSecretToken, r.PreviousExpiresAt = previous, until
	}
	return r, nil
}

func (o object) accessToken() (string, error) {
	s, ok := o.text("access_token")
	switch {
	case !ok:
		return "", &UnusableError{"access_token", "it is not a string"}
	case s == "":
		return "", &UnusableError{"access_token", "it is missing or empty"}
	}
	if err := CheckAccessToken(s); err != nil {
		return "", &UnusableError{"access_token", err.Error()}
	}
	return s, nil
}

func (o object) secretToken(name string) (string, error) {
	s, ok := o.text(name)
	switch {
	case !ok:
		return "", &UnusableError{name, "it is not a string"}
	case s == "":
		return "", &UnusableError{name, "it is missing or empty"}
	case len(s) > MaxSecretToken:
		return "", &UnusableError{name, fmt.Sprintf("it is longer than %d bytes", MaxSecretToken)}
	case strings.ContainsRune(s, utf8.RuneError):
		// encoding/json decodes every unpaired surrogate to this one character, so
		// different secrets would become the same.
		return "", &UnusableError{name, "it holds characters that are not valid Unicode"}
	}
	return s, nil
}
