//go:build !race

package cache

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A million cached credentials fit in 512 MiB.
func TestMillionRecordsFit(t *testing.T) {
	const records, budget = 1_000_000, 512 << 20
	before := heap()
	c := New[*record](nil, Options[*record]{MaxEntries: records})
	defer c.Close()
	raise(&c.entriesFor, time.Hour)
	now := c.clock()
	for i := range records {
		k := key(i)
		c.entries.Set(k, newEntry(k, Found[*record]{Value: newRecord(i)}, now, c.jitter()))
	}
	c.entries.CleanUp()
	used := heap() - before
	if n := c.Stats().Entries; n != records {
		t.Fatalf("%d records cached, want %d", n, records)
	}
	t.Logf("%d bytes a record, %d MiB for a million", used/records, used>>20)
	if used > budget {
		t.Errorf("a million records take %d MiB, want at most %d", used>>20, budget>>20)
	}
}

func TestKeysDontHoldOnToWhatTheyAreCutFrom(t *testing.T) {
	c := New(func(_ context.Context, key, _ string) (Found[string], error) {
		if key < "50" {
			return Found[string]{}, ErrAbsent
		}
		return Found[string]{}, nil
	}, Options[string]{})
	defer c.Close()
	before := heap()
	for i := range 100 {
		request := strings.Repeat("x", 1<<20) + fmt.Sprintf("%02d", i)
		key := request[1<<20:]
		c.Get(t.Context(), key, key, testPolicy, claimOf("wrong"))
	}
	if used := int64(heap()) - int64(before); used > 10<<20 {
		t.Errorf("%d MiB in use, want next to nothing", used>>20)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
