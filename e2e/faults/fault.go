package faults

import (
	"io"
	"net"
	"net/http"
	"time"
)

// Fault is one way in which a server, or something in front of it, fails its clients. The zero
// value is no fault: requests are forwarded.
type Fault struct {
	Name string

	// serve answers a request in the server's place; nil forwards it.
	serve func(w http.ResponseWriter, r *http.Request, forward http.Handler)
	// closed: nothing listens.
	closed bool
}

// Over is the server with this fault. A closed port makes no difference.
func (f Fault) Over(server http.Handler) http.Handler {
	if f.serve == nil {
		return server
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, server) })
}

// All returns all faults of a Proxy, each once.
func All() []Fault {
	return []Fault{
		Late(30 * time.Second),
		Answer("answers 500", http.StatusInternalServerError, nil, `{"errors":["internal error"]}`),
		Answer("answers 429", http.StatusTooManyRequests, nil, `{"errors":["request path is rate limited"]}`),
		Answer("answers 429, Retry-After: 2", http.StatusTooManyRequests, http.Header{"Retry-After": {"2"}},
			`{"errors":["request path is rate limited"]}`),
		Reset(),
		HalfOpen(),
		ClosedPort(),
		Answer("load balancer's empty 404", http.StatusNotFound, nil, ""),
		Answer("load balancer's HTML 404", http.StatusNotFound, http.Header{"Content-Type": {"text/html"}},
			"<html><head><title>404 Not Found</title></head></html>"),
		Answer("404, no handler for route", http.StatusNotFound, http.Header{"Content-Type": {"application/json"}},
			`{"errors":["no handler for route \"secret/data/kong-auth\". route entry not found."]}`),
	}
}

// Late forwards each request after a delay.
func Late(delay time.Duration) Fault {
	return Fault{Name: "answers after " + delay.String(), serve: func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			forward.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}}
}

// Answer gives every request the same answer.
func Answer(name string, status int, header http.Header, body string) Fault {
	return Fault{Name: name, serve: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for field, values := range header {
			w.Header()[field] = values
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}}
}

// By has a function answer each request, which may forward it.
func By(serve func(w http.ResponseWriter, r *http.Request, forward http.Handler)) Fault {
	return Fault{serve: serve}
}

// Reset breaks the connection instead of answering.
func Reset() Fault {
	return Fault{Name: "connection reset", serve: func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { reset(w) }}
}

// HalfOpen accepts connections and requests, and never answers.
func HalfOpen() Fault {
	return Fault{Name: "half-open, never answers", serve: func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		<-r.Context().Done() // the client has hung up
		panic(http.ErrAbortHandler)
	}}
}

// ClosedPort refuses connections, and breaks those that are open. Refused requests aren't among
// those of Proxy.Requests.
func ClosedPort() Fault { return Fault{Name: "closed port", closed: true} }

// Page answers with a page, as a firewall does.
func Page(status int) Fault {
	return Answer("a firewall's page", status, http.Header{"Content-Type": {"text/html"}}, "<html><body>Request blocked</body></html>")
}

// Only is f for some requests, and forwards the others. f must not be ClosedPort.
func Only(which func(*http.Request) bool, f Fault) Fault {
	serve := f.serve
	f.serve = func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if which(r) {
			serve(w, r, forward)
		} else {
			forward.ServeHTTP(w, r)
		}
	}
	return f
}

// reset ends a request's connection with an RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}
