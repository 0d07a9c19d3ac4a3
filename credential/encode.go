package credential

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Encode returns a record as JSON for a store: the value of a secret in Key Vault, the
// fields of a secret in Vault. It writes the fields as Kong Enterprise does, and leaves out
// those that are zero, and Flaws. The error, an *UnusableError, says why Parse would refuse
// the result.
func Encode(r *Record) ([]byte, error) { return Change([]byte("{}"), replaceBy(r)) }

// EncodeBase64 is Encode for ParseBase64.
func EncodeBase64(r *Record) ([]byte, error) { return ChangeBase64([]byte("{}"), replaceBy(r)) }

func replaceBy(r *Record) func(*Record) error {
	return func(old *Record) error { *old = *r; return nil }
}

// Change applies change to the record in stored JSON, and returns the new JSON. Fields
// that change doesn't modify stay as they were written, and so do unknown fields. An object
// without fields is an empty record. The error is change's, or an *UnusableError.
func Change(stored []byte, change func(*Record) error) ([]byte, error) {
	return plainText.change(stored, change)
}

// ChangeBase64 is Change for ParseBase64.
func ChangeBase64(stored []byte, change func(*Record) error) ([]byte, error) {
	return inBase64.change(stored, change)
}

// encoding encodes and decodes the secret tokens of a record.
type encoding struct {
	encode func(string) string
	decode decoder
}

func (e encoding) change(stored []byte, change func(*Record) error) ([]byte, error) {
	stored = bytes.TrimPrefix(stored, []byte(byteOrderMark))
	all, err := parseMembers(stored)
	if err != nil {
		return nil, err
	}
	r := &Record{}
	if len(all) > 0 {
		if r, err = parse(stored, e.decode); err != nil {
			return nil, err
		}
	}
	before := e.fields(r)
	if err := change(r); err != nil {
		return nil, err
	}
	after := e.fields(r)
	all.update(before, after)
	encoded := marshal(all)
	if r, err = parse(encoded, e.decode); err != nil {
		return nil, err
	}
	if err := differ(after, e.fields(r)); err != nil {
		return nil, err
	}
	return encoded, nil
}

// update changes the members in which before and after differ. The three members of a
// previous secret token make sense only together, so if one changes, none of the old ones
// stays.
func (o object) update(before, after object) {
	changes := func(name string) bool { return !bytes.Equal(before[name], after[name]) }
	together := slices.ContainsFunc(previousFields, changes)
	for _, names := range []iter.Seq[string]{slices.Values(previousFields), maps.Keys(before), maps.Keys(after)} {
		for name := range names {
			value, stays := after[name]
			switch {
			case !changes(name) && !(together && slices.Contains(previousFields, name)):
			case stays:
				o[name] = value
			default:
				delete(o, name)
			}
		}
	}
}

var previousFields = []string{"previous_secret_token", "previous_secret_token_hash", "previous_expires_at"}

// differ returns an error about a field that Parse would read as another value.
func differ(meant, read object) error {
	for _, name := range slices.Sorted(maps.Keys(meant)) {
		if !bytes.Equal(meant[name], read[name]) {
			return &UnusableError{name, "it would be read as something else", "choose another value"}
		}
	}
	return nil
}

var (
	plainText = encoding{
		encode: func(s string) string { return s },
		decode: func(s string) (string, bool) { return s, true },
	}
	inBase64 = encoding{
		encode: func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		decode: func(s string) (string, bool) {
			// base64(1) breaks lines, and some programs don't pad.
			s = strings.TrimRight(strings.Join(strings.Fields(s), ""), "=")
			decoded, err := base64.RawStdEncoding.DecodeString(s)
			return string(decoded), err == nil
		},
	}
)

// fields returns the record's fields that are not zero.
func (e encoding) fields(r *Record) object {
	o := object{}
	o.put("access_token", r.AccessToken)
	o.put("secret_token", e.encode(r.Secret.Token))
	o.put("secret_token_hash", r.Secret.Hash.String())
	o.put("previous_secret_token", e.encode(r.Previous.Token))
	o.put("previous_secret_token_hash", r.Previous.Hash.String())
	o.put("previous_expires_at", date(r.PreviousExpiresAt))
	o.put("not_before", date(r.NotBefore))
	o.put("expires_at", date(r.ExpiresAt))
	o.put("description", r.Description)
	o.put("created_by", r.CreatedBy)
	o.putNumber("ttl", r.TTL.Seconds())
	o.putTime("created_at", r.CreatedAt)
	o.putTime("updated_at", r.UpdatedAt)
	switch {
	case r.Consumer.ID != "":
		o["consumer"] = marshal(map[string]string{"id": strings.ToLower(r.Consumer.ID)})
	case r.Consumer.Username != "":
		o["consumer"] = marshal(map[string]string{"username": r.Consumer.Username})
	}
	if r.Disabled {
		o["enabled"] = marshal(false)
	}
	if r.AllowedIPs != nil {
		ranges := make([]string, len(r.AllowedIPs))
		for i, p := range r.AllowedIPs {
			ranges[i] = showRange(p)
		}
		o["allowed_ips"] = marshal(ranges)
	}
	if r.Groups != nil {
		o["groups"] = marshal(r.Groups)
	}
	return o
}

func (o object) put(name, value string) {
	if value != "" {
		o[name] = marshal(value)
	}
}

func (o object) putNumber(name string, value float64) {
	if value != 0 {
		o[name] = marshal(value)
	}
}

// putTime writes whole seconds, as Kong Enterprise does.
func (o object) putTime(name string, t time.Time) {
	if !t.IsZero() {
		o[name] = marshal(t.Unix())
	}
}

func date(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// marshal returns JSON without the escapes for HTML.
func marshal(v any) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // impossible for strings, numbers, and JSON that was read
	}
	return bytes.TrimSpace(b.Bytes())
}

func showRange(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
