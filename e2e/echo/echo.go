// Package echo is an upstream that answers with what it received.
package echo

import (
	"encoding/json"
	"io"
	"net/http"
)

// Request is a request as the upstream received it.
type Request struct {
	Method string      `json:"method"`
	URI    string      `json:"uri"` // path and query string
	Host   string      `json:"host"`
	Header http.Header `json:"headers"`
	Body   string      `json:"body"` // its bytes, text or not
}

// Handler answers every request with a Request as JSON, after it has called record with it.
// record may be nil.
func Handler(record func(Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		seen := Request{r.Method, r.RequestURI, r.Host, r.Header, string(body)}
		if record != nil {
			record(seen)
		}
		w.Header().Set("Content-Type", "application/json")
		pretty := json.NewEncoder(w)
		pretty.SetIndent("", "  ")
		pretty.Encode(seen)
	})
}
