package secretstore

import (
	"errors"
	"time"

	"golang.org/x/time/rate"
)

// redialPause is how often, at most, answers to single names make a store open new
// connections.
const redialPause = time.Second

// Redial has a store open new connections once one has failed. What fails may keep
// its connections; whatever leads to something better by now (DNS, a Service, a
// load balancer) counts only for new ones. It is safe for concurrent use.
type Redial struct {
	redial  func()
	oneName rate.Sometimes
}

// NewRedial returns a Redial that calls redial, which has later requests open new
// connections.
func NewRedial(redial func()) *Redial {
	return &Redial{redial: redial, oneName: rate.Sometimes{Interval: redialPause}}
}

// After takes note of a request's error, or nil. An answer to one name counts once
// a second: a stranger can cause as many as the store is asked for, and everybody
// would share the cost of new connections.
func (r *Redial) After(err error) {
	var f *Failure
	switch {
	case !errors.As(err, &f):
	case f.OneName:
		r.oneName.Do(r.redial)
	default:
		r.redial()
	}
}
