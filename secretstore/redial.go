package secretstore

import (
	"errors"
	"time"

	"golang.org/x/time/rate"
)

// redialPause is how often, at most, answers to single names make a store open new
// connections.
const redialPause = time.Second

// Redial makes a store open new connections after a failure. A server that fails may
// keep its connections open; if DNS, a Service or a load balancer leads to a better one by
// now, only new connections reach it. It is safe for concurrent use.
type Redial struct {
	redial  func()
	oneName rate.Sometimes
}

// NewRedial returns a Redial that calls redial, which must make later requests open new
// connections.
func NewRedial(redial func()) *Redial {
	return &Redial{redial: redial, oneName: rate.Sometimes{Interval: redialPause}}
}

// After is called with the outcome of a request, an error or nil. Answers to single names
// count at most once in redialPause: a stranger can cause any number of them, and all
// clients would pay for the new connections.
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
