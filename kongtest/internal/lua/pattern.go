package lua

import (
	"errors"
	"fmt"
	"strings"
)

// Pattern is a pattern of Lua's string library, as "match" in a schema holds it.
// Captures are ignored; back references (%1) are not supported.
type Pattern struct {
	items    []patternItem
	anchored bool
}

// patternItem is one piece of a pattern: a class and how often it may occur,
// a balanced pair (%b), a frontier (%f), or the end of the subject.
type patternItem struct {
	kind        byte // 0 class, 'b' balanced, 'f' frontier, '$' end
	class       func(byte) bool
	repeat      byte // 0, '*', '+', '-', '?'
	open, close byte
}

// CompilePattern compiles a pattern. Its error is worded as Lua words it.
func CompilePattern(s string) (*Pattern, error) {
	p := &Pattern{anchored: strings.HasPrefix(s, "^")}
	depth := 0
	for i := len(s) - len(strings.TrimPrefix(s, "^")); i < len(s); {
		switch c := s[i]; {
		case c == '(':
			depth++
			i++
			continue
		case c == ')':
			if depth--; depth < 0 {
				return nil, errors.New("invalid pattern capture")
			}
			i++
			continue
		case c == '$' && i == len(s)-1:
			p.items = append(p.items, patternItem{kind: '$'})
			i++
			continue
		case strings.HasPrefix(s[i:], "%b"):
			if i+3 >= len(s) {
				return nil, errors.New("malformed pattern (missing arguments to '%b')")
			}
			p.items = append(p.items, patternItem{kind: 'b', open: s[i+2], close: s[i+3]})
			i += 4
			continue
		}
		item := patternItem{}
		if strings.HasPrefix(s[i:], "%f") {
			if i += 2; i >= len(s) || s[i] != '[' {
				return nil, errors.New("malformed pattern (missing '[' after '%f')")
			}
			item.kind = 'f'
		}
		class, next, err := patternClass(s, i)
		if err != nil {
			return nil, err
		}
		item.class, i = class, next
		if item.kind == 0 && i < len(s) && strings.IndexByte("*+-?", s[i]) >= 0 {
			item.repeat = s[i]
			i++
		}
		p.items = append(p.items, item)
	}
	if depth > 0 {
		return nil, errors.New("unfinished capture")
	}
	return p, nil
}

// patternClass parses one single-character class at s[i].
func patternClass(s string, i int) (class func(byte) bool, next int, err error) {
	switch s[i] {
	case '.':
		return func(byte) bool { return true }, i + 1, nil
	case '%':
		if i+1 >= len(s) {
			return nil, 0, errors.New("malformed pattern (ends with '%')")
		}
		if '0' <= s[i+1] && s[i+1] <= '9' {
			return nil, 0, fmt.Errorf("back reference %%%c is not supported here", s[i+1])
		}
		return escapedClass(s[i+1]), i + 2, nil
	case '[':
		return patternSet(s, i)
	}
	c := s[i]
	return func(b byte) bool { return b == c }, i + 1, nil
}

func patternSet(s string, i int) (class func(byte) bool, next int, err error) {
	i++
	negated := i < len(s) && s[i] == '^'
	if negated {
		i++
	}
	var members []func(byte) bool
	for first := true; ; first = false {
		switch {
		case i >= len(s):
			return nil, 0, errors.New("malformed pattern (missing ']')")
		case s[i] == ']' && !first:
			return func(b byte) bool {
				for _, m := range members {
					if m(b) {
						return !negated
					}
				}
				return negated
			}, i + 1, nil
		case s[i] == '%' && i+1 < len(s):
			members = append(members, escapedClass(s[i+1]))
			i += 2
		case i+2 < len(s) && s[i+1] == '-' && s[i+2] != ']':
			lo, hi := s[i], s[i+2]
			members = append(members, func(b byte) bool { return lo <= b && b <= hi })
			i += 3
		default:
			c := s[i]
			members = append(members, func(b byte) bool { return b == c })
			i++
		}
	}
}

// escapedClass is %c: a letter names a class, its capital the complement, and
// anything else stands for itself.
func escapedClass(c byte) func(byte) bool {
	var in func(byte) bool
	switch c | 0x20 {
	case 'a':
		in = func(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }
	case 'c':
		in = func(b byte) bool { return b < 0x20 || b == 0x7f }
	case 'd':
		in = func(b byte) bool { return '0' <= b && b <= '9' }
	case 'g':
		in = func(b byte) bool { return 0x20 < b && b < 0x7f }
	case 'l':
		in = func(b byte) bool { return 'a' <= b && b <= 'z' }
	case 'p':
		in = func(b byte) bool { return 0x20 < b && b < 0x7f && !IsAlnum(b) }
	case 's':
		in = func(b byte) bool { return b == ' ' || '\t' <= b && b <= '\r' }
	case 'u':
		in = func(b byte) bool { return 'A' <= b && b <= 'Z' }
	case 'w':
		in = IsAlnum
	case 'x':
		in = IsHex
	case 'z':
		in = func(b byte) bool { return b == 0 }
	}
	if in == nil || !('a' <= c|0x20 && c|0x20 <= 'z') {
		return func(b byte) bool { return b == c }
	}
	if 'A' <= c && c <= 'Z' {
		return func(b byte) bool { return !in(b) }
	}
	return in
}

// Match is Lua's string.match without the captures.
func (p *Pattern) Match(s string) bool {
	for start := 0; start <= len(s); start++ {
		if p.matchAt(s, start, p.items) {
			return true
		}
		if p.anchored {
			break
		}
	}
	return false
}

func (p *Pattern) matchAt(s string, i int, items []patternItem) bool {
	if len(items) == 0 {
		return true
	}
	item, rest := items[0], items[1:]
	here := i < len(s) && item.class != nil && item.class(s[i])
	switch item.kind {
	case '$':
		return i == len(s)
	case 'f':
		var before, at byte // Lua takes the ends of the subject for a NUL
		if i > 0 {
			before = s[i-1]
		}
		if i < len(s) {
			at = s[i]
		}
		return !item.class(before) && item.class(at) && p.matchAt(s, i, rest)
	case 'b':
		end := balanced(s, i, item.open, item.close)
		return end > 0 && p.matchAt(s, end, rest)
	}
	switch item.repeat {
	case '?':
		return here && p.matchAt(s, i+1, rest) || p.matchAt(s, i, rest)
	case '-':
		for ; !p.matchAt(s, i, rest); i++ {
			if i >= len(s) || !item.class(s[i]) {
				return false
			}
		}
		return true
	case '*', '+':
		longest := i
		for longest < len(s) && item.class(s[longest]) {
			longest++
		}
		if item.repeat == '+' {
			i++
		}
		for ; longest >= i; longest-- {
			if p.matchAt(s, longest, rest) {
				return true
			}
		}
		return false
	}
	return here && p.matchAt(s, i+1, rest)
}

// balanced returns the end of the balanced pair that starts at s[i], 0 if
// there isn't one.
func balanced(s string, i int, open, end byte) int {
	if i >= len(s) || s[i] != open {
		return 0
	}
	depth := 1
	for i++; i < len(s); i++ {
		switch s[i] {
		case end:
			if depth--; depth == 0 {
				return i + 1
			}
		case open:
			depth++
		}
	}
	return 0
}

// IsAlnum reports whether c is a letter or digit of ASCII.
func IsAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// IsHex reports whether c is a hexadecimal digit.
func IsHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}
