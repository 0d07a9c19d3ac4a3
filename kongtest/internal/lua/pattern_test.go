package lua

import "testing"

func TestPatterns(t *testing.T) {
	tests := []struct {
		pattern, subject string
		want             bool
	}{
		{"^[%w_-]+$", "access_token-1", true},
		{"^[%w_-]+$", "access token", false},
		{"^[%w_-]+$", "", false},
		{"^[%w-]*$", "", true},
		{"b+", "aabb", true},
		{"^b+", "aabb", false},
		{"^a-b$", "aaab", true},
		{"^a?b$", "b", true},
		{"^a.c$", "abc", true},
		{"^%$%d+%.%d%d$", "$12.50", true},
		{"^[^%s]+$", "no space", false},
		{"^[]]$", "]", true},
		{"^[a-]$", "-", true},
		{"^[%a]%A$", "a1", true},
		{"^%b()$", "(a(b)c)", true},
		{"^%b()$", "(a(b)c", false},
		{"%f[%w]two%f[%W]", "one two three", true},
		{"%f[%w]wo%f[%W]", "one two three", false},
		{"^(https?)://(.*)$", "https://x", true},
		{"^a$b$", "a$b", true},
	}
	for _, test := range tests {
		p, err := CompilePattern(test.pattern)
		if err != nil {
			t.Errorf("%q: %v", test.pattern, err)
		} else if got := p.Match(test.subject); got != test.want {
			t.Errorf("%q on %q: %v, want %v", test.pattern, test.subject, got, test.want)
		}
	}
	for _, bad := range []string{"[a", "%", "(a", "a)", "%bx", "%fa"} {
		if _, err := CompilePattern(bad); err == nil {
			t.Errorf("%q compiled", bad)
		}
	}
}

func FuzzPattern(f *testing.F) {
	f.Add("^[%w_-]+$", "access_token")
	f.Add("%f[%w]%b()a-$", "(a)")
	f.Fuzz(func(t *testing.T, pattern, subject string) {
		if len(pattern) > 12 || len(subject) > 12 {
			return // Lua's matching is exponential, and so is this
		}
		if p, err := CompilePattern(pattern); err == nil {
			p.Match(subject)
		}
	})
}
