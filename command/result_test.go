package command

import (
	"strings"
	"testing"
	"time"

	"kong-vault-auth/manage"
)

// A description, for example, can hold anything.
func TestTextOfAStoreCannotControlTheTerminal(t *testing.T) {
	p, stdout, _ := inProcess()
	p.Now = time.Now
	e := manage.Entry{AccessToken: "a", Description: "\x1b[2J\u009b1mX\nState active", Consumer: &manage.Consumer{Username: "b\rc"}}
	if err := p.print(&result{Entry: e}); err != nil {
		t.Fatal(err)
	}
	table := p.newTable("A")
	table.row("\x1b]0;title\a")
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(stdout.String(), "\x1b\u009b\r\a") || strings.Contains(stdout.String(), "\nState active") {
		t.Errorf("it writes %q", stdout)
	}
}

func TestState(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	p := &Program{Now: func() time.Time { return now }}
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	for want, e := range map[string]manage.Entry{
		"active":        {Enabled: true, Stored: "hash", NotBefore: at(-1), ExpiresAt: at(1)},
		"unusable":      {Enabled: true, Problem: "p"},
		"disabled":      {Stored: "hash", ExpiresAt: at(-1)},
		"expired":       {Enabled: true, Stored: "hash", ExpiresAt: at(0)},
		"not yet valid": {Enabled: true, Stored: "hash", NotBefore: at(1)},
	} {
		if got := p.state(&e); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
