package manage

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

var errSpan = errors.New("it must be a length of time such as 90d, 12h or 30m")

// ParseSpan parses a duration that may be in days, and isn't negative: 90d, 1h30m.
func ParseSpan(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, errSpan
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errSpan
	}
	return d, nil
}
