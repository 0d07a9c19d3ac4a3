// Package closing closes what a program has started.
package closing

import "errors"

// Stack is what has to be closed, the latest first. The zero value is empty. It is not for
// concurrent use.
type Stack []func() error

// Add adds what was started last.
func (s *Stack) Add(closer func() error) { *s = append(*s, closer) }

// Close closes everything and leaves the stack empty. It returns all errors.
func (s *Stack) Close() error {
	var errs []error
	for len(*s) > 0 {
		last := len(*s) - 1
		errs = append(errs, (*s)[last]())
		*s = (*s)[:last]
	}
	return errors.Join(errs...)
}
