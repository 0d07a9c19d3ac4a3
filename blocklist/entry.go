package blocklist

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"kong-vault-auth/credential"
)

// Kind says what an entry blocks.
type Kind string

// The kinds of entries.
const (
	ByFingerprint Kind = "fingerprint" // one credential of one store
	ByToken       Kind = "token"       // an access token in every store
	ByConsumer    Kind = "consumer"    // all credentials of a consumer, by id or username
)

// Target is whom or what an entry concerns.
type Target struct {
	Kind  Kind   `json:"kind"`
	Value string `json:"value"`
}

// Entry is one decision to block a target, or to lift a block.
type Entry struct {
	Target
	At     time.Time `json:"at"`               // when it was made: of each target, the latest entry counts
	Until  time.Time `json:"until,omitzero"`   // when the block ends; zero: only when it is lifted
	Lifted bool      `json:"lifted,omitempty"` // the target is not blocked
	Label  string    `json:"label,omitempty"`  // shown to operators: a consumer's name, say
}

const (
	maxName  = 255 // bytes of a consumer's name
	maxLabel = 200
	// keptFor is how long an entry is kept after it has stopped blocking, so that no
	// older entry takes effect again.
	keptFor = 31 * 24 * time.Hour
	// maxAhead is how far another node's clock may be ahead.
	maxAhead = 5 * time.Minute
)

// Active reports whether the entry blocks anything at a time.
func (e Entry) Active(now time.Time) bool {
	return !e.Lifted && (e.Until.IsZero() || now.Before(e.Until))
}

// outdated reports whether the entry can be forgotten.
func (e Entry) outdated(now time.Time) bool {
	return !e.Active(now) && now.Sub(e.At) > keptFor && now.Sub(e.Until) > keptFor
}

// supersedes reports whether e counts rather than other, which has the same target. Of
// two that were made at the same time, the stricter one does.
func (e Entry) supersedes(other Entry) bool {
	switch c := e.At.Compare(other.At); {
	case c != 0:
		return c > 0
	case e.Lifted != other.Lifted:
		return !e.Lifted
	case e.Until.IsZero() != other.Until.IsZero():
		return e.Until.IsZero()
	}
	return cmp.Or(e.Until.Compare(other.Until), strings.Compare(e.Label, other.Label)) > 0
}

// byTarget orders entries by target.
func byTarget(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Value, b.Value))
}

// Check checks an entry that was made elsewhere.
func (e Entry) Check(now time.Time) error {
	switch e.Kind {
	case ByFingerprint:
		if !credential.IsFingerprint(e.Value) {
			return errors.New("a fingerprint has 12 hex digits")
		}
	case ByToken:
		if b, err := hex.DecodeString(e.Value); err != nil || len(b) != digestLen {
			return errors.New("the digest of the token is malformed")
		}
	case ByConsumer:
		if e.Value == "" || len(e.Value) > maxName || strings.ContainsFunc(e.Value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("a consumer's id or username has 1 to %d bytes, and no control characters", maxName)
		}
	default:
		return errors.New("its kind is unknown")
	}
	switch {
	case e.At.IsZero():
		return errors.New("it doesn't say when it was made")
	case e.At.Sub(now) > maxAhead:
		return errors.New("it was made in the future: check the clocks")
	case len(e.Label) > maxLabel:
		return errors.New("its label is too long")
	}
	return nil
}
