package command

import (
	"time"

	"kong-vault-auth/manage"
)

// span is the value of a flag that is a length of time, in days as well: 90d, 1h30m.
type span struct{ time.Duration }

// Set implements pflag.Value.
func (s *span) Set(text string) (err error) {
	s.Duration, err = manage.ParseSpan(text)
	return err
}

// String implements pflag.Value.
func (s *span) String() string {
	if s.Duration == 0 {
		return ""
	}
	return s.Duration.String()
}

// Type implements pflag.Value.
func (*span) Type() string { return "duration" }
