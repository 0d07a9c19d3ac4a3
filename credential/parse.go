package credential

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Problem is a part of a record that can't be understood or has no effect. It never
// contains any of the record's values.
type Problem struct {
	Field  string // a field's name, "size" or "json"
	Detail string // what is wrong with it, and what follows from that
	Remedy string // what to write instead
}

// String returns one line.
func (p Problem) String() string {
	s := p.Field + ": " + p.Detail
	if p.Remedy != "" {
		s += " (" + p.Remedy + ")"
	}
	return s
}

// UnusableError says why a record can't be used. Its fields are those of a
// Problem.
type UnusableError struct {
	Reason string // the Problem's field
	Detail string
	Remedy string
}

// Error is the problem in one line.
func (e *UnusableError) Error() string { return Problem{e.Reason, e.Detail, e.Remedy}.String() }

func (p *Problem) unusable() error { return &UnusableError{p.Field, p.Detail, p.Remedy} }

// Parse reads a record, as JSON. It is lenient where a mistake in the record can do no
// harm: a ttl that can't be read counts as missing, and so does a previous secret without
// a clear end. [Record.Problems] reports these. It is strict where a mistake could let
// somebody in, give them more than was meant, or keep a pair alive. The only kind of error
// is an *UnusableError. Unknown fields are ignored, null is the same as missing, and names
// of fields are compared exactly.
//
// One line end after a token or consumer is removed: it is that of the file that the vault
// CLI was given (secret_token=@file), and no header can carry it. Nothing else is trimmed.
func Parse(b []byte) (*Record, error) { return parse(b, plainText.decode) }

// ParseBase64 is Parse for a record whose secret tokens, but not their hashes, are in
// base64.
func ParseBase64(b []byte) (*Record, error) { return parse(b, inBase64.decode) }

// decoder decodes a secret token. Its second result is false if it can't.
type decoder func(string) (string, bool)

func parse(b []byte, decode decoder) (*Record, error) {
	o, err := parseObject(bytes.TrimPrefix(b, []byte(byteOrderMark)))
	if err != nil {
		return nil, err
	}
	r := &Record{}
	if r.AccessToken, err = o.accessToken(); err != nil {
		return nil, err
	}
	var p *Problem
	if r.Secret, p = o.secret("secret_token", decode); p != nil {
		return nil, p.unusable()
	}
	r.report(unlikeHeader("secret_token", r.Secret.Token))
	if r.Consumer, err = o.consumer(); err != nil {
		return nil, err
	}
	if p = o.restrictions(r); p != nil {
		return nil, p.unusable()
	}
	r.TTL, p = o.duration("ttl")
	r.report(p)
	r.report(o.previous(r, decode))
	r.report(o.misspelt())
	r.CreatedAt, _ = o.time("created_at") // a problem with these four does no harm
	r.UpdatedAt, _ = o.time("updated_at")
	r.Description, _ = o.line("description")
	r.CreatedBy, _ = o.line("created_by")
	return r, nil
}

// report adds a problem, unless it is nil.
func (r *Record) report(p *Problem) {
	if p != nil {
		r.Flaws = append(r.Flaws, *p)
	}
}

// Problems returns the problems of the record's parts that have no effect at a time.
func (r *Record) Problems(now time.Time) []Problem {
	if r.PreviousExpiresAt.Sub(now) <= MaxGrace {
		return r.Flaws
	}
	return append(r.Flaws[:len(r.Flaws):len(r.Flaws)], Problem{
		"previous_expires_at", fmt.Sprintf("it is more than %d days ahead, so the previous secret token is refused", MaxGrace/(24*time.Hour)),
		"write an earlier end",
	})
}

func (o object) accessToken() (string, error) {
	s, ok := o.line("access_token")
	p := Problem{Field: "access_token", Remedy: "write the token that clients send, which is also the secret's name"}
	switch err := CheckAccessToken(s); {
	case !ok:
		p.Detail = "it is not a string"
	case s == "":
		p.Detail = "it is missing or empty"
	case err != nil:
		p.Detail = err.Error()
	default:
		return s, nil
	}
	return "", p.unusable()
}

// secret reads a secret token, or its hash from the field name_hash. If there are both,
// they must agree, since it is unknown which of the two was meant.
func (o object) secret(name string, decode decoder) (Secret, *Problem) {
	hash, p := o.hash(name + "_hash")
	if p != nil {
		return Secret{}, p
	}
	s, isText := o.text(name)
	if !hash.IsZero() && isText && s == "" {
		return Secret{Hash: hash}, nil
	}
	plain, p := o.secretToken(name, decode)
	switch {
	case p != nil:
		return Secret{}, p
	case !hash.IsZero() && !hash.Matches(plain):
		return Secret{}, &Problem{name + "_hash", "it is not the hash of the " + name + " beside it", "leave one of them out"}
	}
	return Secret{plain, hash}, nil
}

// hash reads a hash. A missing or empty field is the zero Hash.
func (o object) hash(name string) (Hash, *Problem) {
	s, ok := o.line(name)
	switch {
	case !ok:
		return Hash{}, &Problem{name, "it is not a string", hashRemedy}
	case s == "":
		return Hash{}, nil
	}
	h, err := parseHash(s)
	if unusable := (*UnusableError)(nil); errors.As(err, &unusable) {
		return Hash{}, &Problem{name, unusable.Detail, unusable.Remedy}
	}
	return h, nil
}

func (o object) secretToken(name string, decode decoder) (string, *Problem) {
	s, ok := o.text(name)
	p := Problem{Field: name, Remedy: "write the token that clients send, as a string"}
	switch {
	case !ok:
		p.Detail = "it is not a string"
		return "", &p
	case strings.ContainsRune(s, utf8.RuneError):
		// encoding/json decodes every unpaired surrogate to this one character, so
		// different secrets would become the same.
		p.Detail, p.Remedy = "it holds characters that are not valid Unicode", "choose another one"
		return "", &p
	}
	s, ok = decode(s)
	s = withoutLineEnd(s)
	switch {
	case !ok:
		p.Detail, p.Remedy = "it is not base64, which base64_decode asks for", "write it in base64, or leave base64_decode out"
	case s == "":
		p.Detail = "it is missing or empty"
	case len(s) > MaxSecretToken:
		p.Detail, p.Remedy = fmt.Sprintf("it is longer than %d bytes", MaxSecretToken), "choose a shorter one"
	case badChecksum(s):
		p.Detail, p.Remedy = "its last six characters are not the checksum of those before", "copy it whole"
	default:
		return s, nil
	}
	return "", &p
}

// unlikeHeader returns the problem of a secret token that no header can carry as it is:
// servers and proxies trim the white space around a header's value, and refuse control
// characters.
func unlikeHeader(name, secret string) *Problem {
	p := Problem{Field: name, Remedy: "write it without; echo and editors add what printf '%s' doesn't"}
	switch {
	case strings.HasPrefix(secret, byteOrderMark):
		p.Detail = "it begins with a byte order mark, which no client sends"
	case strings.Trim(secret, " \t\r\n") != secret:
		p.Detail = "it begins or ends with white space, which no header can carry"
	case strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		p.Detail = "it holds control characters, which no header can carry"
	default:
		return nil
	}
	return &p
}

// previous reads a rotation's grace period into the record, or returns why it can't.
func (o object) previous(r *Record, decode decoder) *Problem {
	const secretField, endField = "previous_secret_token", "previous_expires_at"
	if o.isEmpty(secretField) && o.isEmpty(secretField+"_hash") {
		return nil
	}
	secret, p := o.secret(secretField, decode)
	if p == nil {
		var end time.Time
		switch end, p = o.time(endField); {
		case p == nil && end.IsZero():
			p = &Problem{endField, "it is missing", timeRemedy}
		case p == nil:
			r.Previous, r.PreviousExpiresAt = secret, end
			return unlikeHeader(secretField, secret.Token)
		}
	}
	p.Detail += ", so the previous secret token is refused"
	return p
}

// optional are the fields that a record may leave out, so that nobody notices if one is
// misspelt.
var optional = []string{
	"ttl", "enabled", "not_before", "expires_at", "allowed_ips", "groups", "secret_token_hash",
	"previous_secret_token", "previous_secret_token_hash", "previous_expires_at",
}

// misspelt returns the problem of a field that is missing, but is there in another
// spelling, such as expiresAt.
func (o object) misspelt() *Problem {
	fold := strings.NewReplacer("_", "", "-", "", " ", "")
	for _, want := range optional {
		if _, found := o[want]; found {
			continue
		}
		for name := range o {
			if strings.EqualFold(fold.Replace(name), fold.Replace(want)) {
				return &Problem{want, "it has no effect in the spelling of this record", "write " + want}
			}
		}
	}
	return nil
}
