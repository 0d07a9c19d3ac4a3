package command

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// span is the value of a flag that is a length of time, in days as well: 90d, 1h30m.
type span struct{ time.Duration }

// Set implements pflag.Value.
func (s *span) Set(text string) error {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return errors.New("it must be a length of time, as 90d, 12h or 30m")
		}
		s.Duration = time.Duration(n) * 24 * time.Hour
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return errors.New("it must be a length of time, as 90d, 12h or 30m")
	}
	s.Duration = d
	return nil
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
