package secretstore

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailuresMakeNewConnections(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want int // new connections for 10 errors a second, for 3 s
	}{
		"no error":             {nil, 0},
		"absent":               {&Absent{}, 0},
		"something else":       {errors.New("in vain"), 0},
		"a failure":            {&Failure{}, 30},
		"a wrapped failure":    {fmt.Errorf("read: %w", &Failure{}), 30},
		"an answer to a name":  {&Failure{OneName: true}, 3},
		"and a wrapped answer": {fmt.Errorf("read: %w", &Failure{OneName: true}), 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dials := 0
				r := NewRedial(func() { dials++ })
				for range 30 {
					r.After(tt.err)
					time.Sleep(100 * time.Millisecond)
				}
				if dials != tt.want {
					t.Errorf("%d, want %d", dials, tt.want)
				}
			})
		})
	}
}
