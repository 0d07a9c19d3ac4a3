//go:build !race

package cache

import (
	"runtime"
	"testing"
	"time"
)

// A million cached credentials fit in 512 MiB.
func TestMillionRecordsFit(t *testing.T) {
	const records, budget = 1_000_000, 512 << 20
	before := heap()
	c := New[*record](nil, Options{MaxEntries: records})
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

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
