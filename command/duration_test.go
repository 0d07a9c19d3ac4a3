package command

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "0d": 0, "1h30m": 90 * time.Minute, "5m": 5 * time.Minute, "65535d": 65535 * 24 * time.Hour,
	} {
		var s span
		if err := s.Set(text); err != nil || s.Duration != want {
			t.Errorf("%s: %v, %v", text, s.Duration, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "-1h", "1.5d", "65536d", "1d12h", "90", "soon"} {
		var s span
		if err := s.Set(text); err == nil {
			t.Errorf("%q is read as %v", text, s.Duration)
		}
	}
}

func FuzzSpan(f *testing.F) {
	f.Add("90d")
	f.Add("1h30m")
	f.Add("-1ns")
	f.Fuzz(func(t *testing.T, text string) {
		var s, again span
		if s.Set(text) != nil {
			return
		}
		if s.Duration < 0 {
			t.Errorf("%q is negative", text)
		}
		if s.Duration > 0 && (again.Set(s.String()) != nil || again != s) {
			t.Errorf("%q is written as %q", text, s.String())
		}
	})
}
