package pluginserver

import (
	"testing"
	"testing/synctest"
	"time"
)

type closeCounter struct{ closed int }

func (*closeCounter) Access(*Event) Verdict { return Pass() }
func (c *closeCounter) Close()              { c.closed++ }

func TestInstancesAreDroppedWhenUnusedForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table instances
		var used, unused, running closeCounter
		u := table.add(&Plugin{}, &used)
		table.add(&Plugin{}, &unused)
		r := table.add(&Plugin{}, &running)
		if _, ok := table.use(r.id); !ok {
			t.Fatal("a new instance is unknown")
		}
		for range 3 {
			time.Sleep(keepUnused / 2) // virtual
			in, ok := table.use(u.id)
			if !ok {
				t.Fatal("an instance in use was dropped")
			}
			in.done(time.Now())
			table.sweep(time.Now())
		}
		if used.closed != 0 || unused.closed != 1 || running.closed != 0 {
			t.Errorf("closed: used %d, unused %d, running %d", used.closed, unused.closed, running.closed)
		}
	})
}

func TestAClosedInstanceIsKeptForRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var table instances
		var h closeCounter
		in := table.add(&Plugin{}, &h)
		table.close(in.id)
		table.close(in.id)
		time.Sleep(keepClosed - time.Second) // virtual
		if _, ok := table.use(in.id); !ok {
			t.Error("dropped at once")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, ok := table.use(in.id); ok || h.closed != 1 {
			t.Errorf("still there, closed %d times", h.closed)
		}
	})
}
