package vaultsecrets

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"kong-vault-auth/vault"
)

// getFunc is the value of a reference.
type getFunc func(ctx context.Context, reference string) (string, error)

// template is a value with references in it.
type template []part

// part is text, or a reference.
type part struct {
	text      string
	reference *reference // nil for text
}

const referenceStart = "{vault:"

// parseTemplate reads a value. Its errors don't repeat it: what is no reference may be a
// secret.
func parseTemplate(value string, get getFunc) (template, error) {
	var t template
	for value != "" {
		text, _, _ := strings.Cut(value, referenceStart)
		if hasControl(text) {
			return nil, errors.New("it holds a control character")
		}
		if text != "" {
			t = append(t, part{text: text})
		}
		if value = value[len(text):]; value == "" {
			break
		}
		end := strings.IndexByte(value, '}') + 1
		r, err := vault.ParseReference(value[:end])
		if err != nil {
			return nil, err
		}
		if r.Vault == "env" {
			return nil, errors.New("references to the vault env can't stand here: the plugin server's environment holds its own logins")
		}
		t = append(t, part{reference: &reference{text: value[:end], get: get}})
		value = value[end:]
	}
	return t, nil
}

// refers reports whether there is a reference in it.
func (t template) refers() bool {
	for _, p := range t {
		if p.reference != nil {
			return true
		}
	}
	return false
}

// value is the template with its secrets.
func (t template) value(ctx context.Context) (string, error) {
	if len(t) == 1 && t[0].reference != nil {
		return t[0].reference.value(ctx)
	}
	var b strings.Builder
	for _, p := range t {
		text := p.text
		if p.reference != nil {
			var err error
			if text, err = p.reference.value(ctx); err != nil {
				return "", err
			}
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// reference is a reference and what was last known of it.
type reference struct {
	text string
	get  getFunc
	last atomic.Pointer[outcome]
}

// outcome is a secret, or why there is none.
type outcome struct {
	value string
	err   error
	until time.Time
}

// rememberFor is how long an outcome serves other requests. It spares them the work of
// asking the cache of the vault object, whose ttl says how old a secret may be, and it
// spares the store a lookup for each request while there is no such secret.
const rememberFor = time.Second

func (r *reference) value(ctx context.Context) (string, error) {
	if last := r.last.Load(); last != nil && time.Now().Before(last.until) {
		return last.value, last.err
	}
	value, err := r.get(ctx, r.text)
	switch {
	case err == nil && value == "":
		err = errEmpty
	case err == nil && hasControl(value):
		err = errControl
	}
	if err != nil {
		value, err = "", &referenceError{r.text, err}
	}
	if ctx.Err() == nil { // else it says nothing about the secret
		r.last.Store(&outcome{value, err, time.Now().Add(rememberFor)})
	}
	return value, err
}

// referenceError says which reference has no value, and why.
type referenceError struct {
	reference string
	err       error
}

func (e *referenceError) Error() string { return e.err.Error() }
func (e *referenceError) Unwrap() error { return e.err }

var errEmpty = errors.New("the secret is empty")

// errControl is of a secret that could end its header, and begin another.
var errControl = errors.New("the secret holds a newline or another control character, which no header or argument can carry: " +
	"store it without (printf %s rather than echo)")

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
