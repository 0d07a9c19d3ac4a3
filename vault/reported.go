package vault

import (
	"hash/maphash"
	"sync"
)

// maxReported bounds how many reports are kept. When there are more, what was
// reported is reported again.
const maxReported = 100_000

// reported knows what operators have been told about the record of which
// credential. The zero value is ready, and safe for concurrent use.
type reported struct {
	mu     sync.Mutex
	byHash map[uint64]uint64 // of reports, by credentials' ids: hashes, since there may be many
}

var reportSeed = maphash.MakeSeed()

// first reports whether what is to be said of id differs from what was said last,
// and keeps it. An empty report means that the record is right: whatever is wrong
// with it later is news.
func (r *reported) first(id, report string) bool {
	key, value := maphash.String(reportSeed, id), maphash.String(reportSeed, report)
	r.mu.Lock()
	defer r.mu.Unlock()
	last, known := r.byHash[key]
	switch {
	case report == "":
		delete(r.byHash, key)
		return false
	case known && last == value:
		return false
	case r.byHash == nil || len(r.byHash) >= maxReported:
		r.byHash = map[uint64]uint64{}
	}
	r.byHash[key] = value
	return true
}
