package manage

import (
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "0d": 0, "1h30m": 90 * time.Minute, "5m": 5 * time.Minute, "65535d": 65535 * 24 * time.Hour,
	} {
		if got, err := ParseSpan(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "-1d", "-1h", "1.5d", "65536d", "1d12h", "90", "soon"} {
		if got, err := ParseSpan(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func FuzzParseSpan(f *testing.F) {
	f.Add("90d")
	f.Add("1h30m")
	f.Add("-1ns")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseSpan(text)
		if err != nil {
			return
		}
		if again, err := ParseSpan(got.String()); got < 0 || again != got || err != nil {
			t.Errorf("%q is %v, and that %v", text, got, again)
		}
	})
}
