package kongschema

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parseTag reads a kong tag into f, whose Kind must be set.
func (f *Field) parseTag(tag string) error {
	if tag == "" {
		return nil
	}
	var defaultValue *string
	seen := map[string]bool{}
	for item := range strings.SplitSeq(tag, ";") {
		name, value, hasValue := strings.Cut(item, "=")
		if seen[name] {
			return fmt.Errorf("kong tag item %q is given twice", name)
		}
		seen[name] = true
		if err := f.checkItem(name, hasValue); err != nil {
			return err
		}
		var err error
		switch name {
		case "required":
			f.Required = true
		case "referenceable":
			f.Referenceable = true
		case "encrypted":
			f.Encrypted = true
		case "default":
			defaultValue = &value
		case "one_of":
			f.OneOf = strings.Split(value, "|")
		case "match":
			f.Match = value
		case "len_min":
			f.LenMin, err = parseLength(value)
		case "between":
			f.Between, err = parseBounds(value)
		}
		if err != nil {
			return err
		}
	}
	if defaultValue == nil {
		return nil
	}
	if err := f.parseDefault(*defaultValue); err != nil {
		return fmt.Errorf("default=%s: %w", *defaultValue, err)
	}
	return nil
}

// items are the items of a tag: which kinds take them, and whether they have a value.
var items = map[string]struct {
	hasValue bool
	kinds    []Kind
}{
	"required":      {false, []Kind{String, Boolean, Integer, Number, Array, Record}},
	"default":       {true, []Kind{String, Boolean, Integer, Number, Array}},
	"one_of":        {true, []Kind{String, Array}},
	"match":         {true, []Kind{String, Array}},
	"len_min":       {true, []Kind{String, Array}},
	"between":       {true, []Kind{Integer, Number}},
	"referenceable": {false, []Kind{String, Array}},
	"encrypted":     {false, []Kind{String, Array}},
}

func (f *Field) checkItem(name string, hasValue bool) error {
	item, known := items[name]
	switch {
	case !known:
		return fmt.Errorf("kong tag item %q is unknown", name)
	case item.hasValue && !hasValue:
		return fmt.Errorf("kong tag item %q needs a value", name)
	case !item.hasValue && hasValue:
		return fmt.Errorf("kong tag item %q takes no value", name)
	case !slices.Contains(item.kinds, f.Kind):
		return fmt.Errorf("kong tag item %q does not apply to type %s", name, f.Kind)
	}
	return nil
}

func parseLength(s string) (*int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("len_min=%s is not a length", s)
	}
	length := int(n)
	return &length, nil
}

func parseBounds(s string) (*[2]float64, error) {
	low, high, ok := strings.Cut(s, ",")
	from, errFrom := parseNumber(low)
	to, errTo := parseNumber(high)
	if !ok || errFrom != nil || errTo != nil || from > to {
		return nil, fmt.Errorf("between=%s is not LOW,HIGH", s)
	}
	return &[2]float64{from, to}, nil
}

func parseNumber(s string) (float64, error) {
	n, err := strconv.ParseFloat(s, 64)
	if err == nil && (math.IsNaN(n) || math.IsInf(n, 0)) {
		return 0, strconv.ErrRange
	}
	return n, err
}

// parseDefault reads the default. It must be valid itself, or Kong doesn't start.
func (f *Field) parseDefault(s string) (err error) {
	switch f.Kind {
	case Boolean:
		f.Default, err = strconv.ParseBool(s)
		return err
	case Integer:
		n, err := strconv.Atoi(s)
		f.Default = n
		if err != nil {
			return err
		}
		return f.checkBounds(float64(n))
	case Number:
		n, err := parseNumber(s)
		f.Default = n
		if err != nil {
			return err
		}
		return f.checkBounds(n)
	case Array:
		elements := strings.Split(s, "|")
		f.Default = elements
		return f.checkStrings(len(elements), elements...)
	default:
		f.Default = s
		return f.checkStrings(utf8.RuneCountInString(s), s)
	}
}

func (f *Field) checkBounds(n float64) error {
	if b := f.Between; b != nil && (n < b[0] || n > b[1]) {
		return fmt.Errorf("it is not between %v and %v", b[0], b[1])
	}
	return nil
}

func (f *Field) checkStrings(length int, values ...string) error {
	if f.LenMin != nil && length < *f.LenMin {
		return fmt.Errorf("it is shorter than len_min=%d", *f.LenMin)
	}
	for _, v := range values {
		if f.OneOf != nil && !slices.Contains(f.OneOf, v) {
			return fmt.Errorf("it is not one of %s", strings.Join(f.OneOf, ", "))
		}
	}
	return nil
}
