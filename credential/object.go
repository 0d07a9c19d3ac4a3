package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxRecord is the size in bytes above which a record is unusable.
const MaxRecord = 64 << 10

// object is the members of a JSON object, nulls left out.
type object map[string]json.RawMessage

// parseObject reads a JSON object. Decoding into a struct would match names
// without regard to case, take the last of a repeated member and mend broken
// UTF-8; in a record each of these could make another secret the right one.
func parseObject(b []byte) (object, error) {
	switch {
	case len(b) > MaxRecord:
		return nil, &UnusableError{"size", fmt.Sprintf("it is larger than %d bytes", MaxRecord)}
	case !utf8.Valid(b):
		return nil, &UnusableError{"json", "it is not valid UTF-8"}
	case !json.Valid(b):
		return nil, &UnusableError{"json", "it is not valid JSON"}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, &UnusableError{"json", "it is not a JSON object"}
	}
	o := object{}
	seen := map[string]bool{}
	for dec.More() {
		var value json.RawMessage
		token, err := dec.Token()
		name, isText := token.(string)
		if err != nil || !isText || dec.Decode(&value) != nil {
			return nil, &UnusableError{"json", "it is not valid JSON"}
		}
		if seen[name] {
			return nil, &UnusableError{"json", "a field is given more than once"}
		}
		seen[name] = true
		if string(value) != "null" {
			o[name] = value
		}
	}
	return o, nil
}

// text is the string of that name, empty if there is none. It is not ok when
// there is something else than a string.
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

// number is the number of that name, as a JSON number or a decimal in a string.
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

// maxTTL bounds what a record may ask for before the vault object's max_ttl
// does. It is the largest ttl that Kong's vaults take, and keeps arithmetic
// with it from overflowing.
const maxTTL = 1e8 * time.Second

// duration is a positive number of seconds or one of Vault's durations (30m,
// 1h30m, 2d); anything else is 0.
func (o object) duration(name string) time.Duration {
	if seconds, ok := o.number(name); ok {
		return clampTTL(seconds * float64(time.Second))
	}
	s, _ := o.text(name)
	s = strings.TrimSpace(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil {
			return 0
		}
		return clampTTL(float64(n) * 24 * float64(time.Hour))
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return clampTTL(float64(d))
}

func clampTTL(nanoseconds float64) time.Duration {
	return time.Duration(min(max(nanoseconds, 0), float64(maxTTL)))
}

// maxTime is the end of the year 9999 in Unix seconds. What lies beyond is more
// likely milliseconds than a date, and as a date would never come.
const maxTime = 253402300799

// time is a point in time in Unix seconds; missing or empty, the zero time.
// What lies before 1970 counts as 1970.
func (o object) time(name string) (time.Time, error) {
	if s, ok := o.text(name); ok && s == "" {
		return time.Time{}, nil
	}
	seconds, ok := o.number(name)
	if !ok || seconds > maxTime {
		return time.Time{}, &UnusableError{name, "it is not a time in Unix seconds"}
	}
	whole, fraction := math.Modf(max(seconds, 0))
	return time.Unix(int64(whole), int64(fraction*float64(time.Second))), nil
}

// timeOrNone is time for what may do without: one that can't be read is none.
func (o object) timeOrNone(name string) time.Time {
	t, err := o.time(name)
	if err != nil {
		return time.Time{}
	}
	return t
}
