package gateway

import (
	"slices"
	"sync"

	"kong-vault-auth/kongtest"
)

// Record is what became of one request.
type Record struct {
	ID     string // X-Kong-Request-Id
	Method string
	URI    string
	Status int            // of the answer
	Rounds map[string]int // runs of each external plugin's event: 1 unless the plugin closed its connection

	kongtest.Outcome // of all plugins together; its Exit is nil if the request was proxied
}

// records holds the latest ones.
type records struct {
	mu    sync.Mutex
	byID  map[string]Record
	order []string
}

const maxRecords = 4096

func (r *records) add(rec Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = map[string]Record{}
	}
	if len(r.order) == maxRecords {
		for _, id := range r.order[:maxRecords/2] {
			delete(r.byID, id)
		}
		r.order = slices.Delete(r.order, 0, maxRecords/2)
	}
	r.byID[rec.ID] = rec
	r.order = append(r.order, rec.ID)
}

// Record returns the record of the request with an id, which the answer's
// X-Kong-Request-Id names. It is there before the client has the answer; of
// many thousands only the latest are kept.
func (g *Gateway) Record(id string) (Record, bool) {
	g.records.mu.Lock()
	defer g.records.mu.Unlock()
	r, ok := g.records.byID[id]
	return r, ok
}

func (g *Gateway) record(x *exchange, status int) {
	g.records.add(Record{
		ID: x.Request.Vars["kong_request_id"], Method: x.Request.Method, URI: x.Request.URI,
		Status: status, Rounds: x.rounds, Outcome: x.Outcome(),
	})
}
