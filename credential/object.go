package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxRecord is the size in bytes above which a record is unusable.
const MaxRecord = 64 << 10

// byteOrderMark is what some editors put before the first character of a file.
const byteOrderMark = "\ufeff"

// object is the members of a JSON object.
type object map[string]json.RawMessage

const jsonRemedy = `write {"access_token": "…", "secret_token": "…", "consumer": {"username": "…"}}`

// parseObject reads a JSON object, without the members that are null.
func parseObject(b []byte) (object, error) {
	o, err := parseMembers(b)
	maps.DeleteFunc(o, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	return o, err
}

// parseMembers reads a JSON object. Decoding into a struct would match names
// without regard to case, take the last of a repeated member and repair broken
// UTF-8; in a record each of these could make another secret the right one.
func parseMembers(b []byte) (object, error) {
	switch {
	case len(b) > MaxRecord:
		return nil, &UnusableError{"size", fmt.Sprintf("it is larger than %d bytes", MaxRecord), "keep other data elsewhere"}
	case !utf8.Valid(b):
		return nil, &UnusableError{"json", "it is not valid UTF-8", jsonRemedy}
	case !json.Valid(b):
		return nil, &UnusableError{"json", "it is not valid JSON", jsonRemedy}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, &UnusableError{"json", "it is not a JSON object", jsonRemedy}
	}
	o := object{}
	for dec.More() {
		var value json.RawMessage
		token, err := dec.Token()
		name, isText := token.(string)
		if err != nil || !isText || dec.Decode(&value) != nil {
			return nil, &UnusableError{"json", "it is not valid JSON", jsonRemedy}
		}
		if _, seen := o[name]; seen {
			return nil, &UnusableError{"json", "a field is given more than once", "leave one of them"}
		}
		o[name] = value
	}
	return o, nil
}

// text returns the string of that name, empty if there is none. ok is false if the member
// is not a string.
func (o object) text(name string) (s string, ok bool) {
	raw, found := o[name]
	if !found {
		return "", true
	}
	return asText(raw)
}

func asText(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

// isEmpty reports whether the member is missing or an empty string.
func (o object) isEmpty(name string) bool {
	s, ok := o.text(name)
	return ok && s == ""
}

// line is text without the line end of the file that the text came from.
func (o object) line(name string) (s string, ok bool) {
	s, ok = o.text(name)
	return withoutLineEnd(s), ok
}

// withoutLineEnd removes one line end from the end of s.
func withoutLineEnd(s string) string { return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r") }

// number returns the number of that name: a JSON number, or a decimal in a string.
func (o object) number(name string) (n float64, ok bool) {
	s, isText := asText(o[name])
	if !isText {
		s = string(o[name])
	}
	s = strings.TrimSpace(s)
	// ParseFloat would also read NaN, Infinity, hexadecimal and underscores.
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// maxTTL is the upper limit of a record's ttl, beside the vault object's max_ttl. It is
// the largest ttl that Kong's vaults accept, and prevents overflows.
const maxTTL = 1e8 * time.Second

// duration reads a number of seconds or one of Vault's durations (30m, 1h30m, 2d). It
// returns 0 for a field that is missing, empty or zero.
func (o object) duration(name string) (time.Duration, *Problem) {
	s, isText := o.text(name)
	if isText && s == "" {
		return 0, nil
	}
	p := Problem{Field: name, Remedy: "write seconds, as 3600, or a duration of s, m, h or d, as 30m"}
	d, ok := parseDuration(strings.TrimSpace(s))
	if seconds, isNumber := o.number(name); isNumber {
		d, ok = seconds*float64(time.Second), true
	}
	switch {
	case !ok:
		p.Detail = "it is no number of seconds and no duration, so the vault object's ttl is used"
	case d < 0:
		p.Detail = "it is negative, so the vault object's ttl is used"
	default:
		return time.Duration(min(d, float64(maxTTL))), nil
	}
	return 0, &p
}

// parseDuration returns nanoseconds.
func parseDuration(s string) (float64, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		return float64(n) * 24 * float64(time.Hour), err == nil
	}
	d, err := time.ParseDuration(s)
	return float64(d), err == nil
}

// maxTime is the end of the year 9999 in Unix seconds. Times in milliseconds are larger.
const maxTime = 253402300799

const timeRemedy = "write Unix seconds, as 1893456000, or a date as RFC 3339 has it, as 2030-01-01T00:00:00Z"

// time reads a time, in Unix seconds or as in RFC 3339. It returns the zero time for a
// field that is missing or empty. A time that nobody can mean is refused.
func (o object) time(name string) (time.Time, *Problem) {
	s, isText := o.text(name)
	if isText && s == "" {
		return time.Time{}, nil
	}
	t, detail := readDate(strings.TrimSpace(s))
	if seconds, isNumber := o.number(name); isNumber {
		t, detail = readSeconds(seconds)
	}
	if detail != "" {
		return time.Time{}, &Problem{name, detail, timeRemedy}
	}
	return t, nil
}

func readSeconds(seconds float64) (t time.Time, problem string) {
	switch {
	case seconds == 0:
		return time.Time{}, "it is 0, which is 1970; what has no end leaves it out"
	case seconds < 0:
		return time.Time{}, "it lies before 1970"
	case seconds > maxTime:
		return time.Time{}, "it is not in seconds, but in milliseconds or less"
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), ""
}

func readDate(s string) (t time.Time, problem string) {
	t, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	switch {
	case err != nil:
		return time.Time{}, "it is not a time"
	case t.Unix() <= 0:
		return time.Time{}, "it lies before 1970"
	}
	return t, ""
}
