package recording

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"sync"
)

// Upstream is the service behind Kong. It records each request as it came,
// and answers 200, or 101 to an upgrade; gRPC with an empty reply and status 0.
type Upstream struct {
	plain, grpc net.Listener

	mu   sync.Mutex
	last *Received
}

// Received is a request that reached the service.
type Received struct {
	Line    Text   `json:"line"`
	Headers []Text `json:"headers"` // sorted
	Body    Text   `json:"body,omitempty"`
}

// NewUpstream starts the service.
func NewUpstream() (*Upstream, error) {
	u := &Upstream{}
	for _, l := range []*net.Listener{&u.plain, &u.grpc} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, err
		}
	}
	go u.accept()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	go (&http.Server{Handler: http.HandlerFunc(u.serveGRPC), Protocols: &protocols}).Serve(u.grpc)
	return u, nil
}

// Close ends the service.
func (u *Upstream) Close() {
	u.plain.Close()
	u.grpc.Close()
}

func (u *Upstream) take() *Received {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer func() { u.last = nil }()
	return u.last
}

func (u *Upstream) put(r *Received) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = r
}

func (u *Upstream) accept() {
	for {
		c, err := u.plain.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			r := bufio.NewReader(c)
			for u.serve(c, r) == nil {
			}
		}()
	}
}

// serve answers one request. It reads header lines by hand, for their bytes.
func (u *Upstream) serve(c net.Conn, r *bufio.Reader) error {
	line, err := readLine(r)
	if err != nil {
		return err
	}
	got := &Received{Line: Text(line)}
	var body io.Reader = strings.NewReader("")
	upgrade := false
	for {
		h, err := readLine(r)
		if err != nil {
			return err
		}
		if h == "" {
			break
		}
		got.Headers = append(got.Headers, Text(h))
		name, value, _ := strings.Cut(h, ":")
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "content-length":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return err
			}
			body = io.LimitReader(r, n)
		case "transfer-encoding":
			body = httputil.NewChunkedReader(r)
		case "upgrade":
			upgrade = true
		}
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	got.Body = Text(b)
	u.put(got)
	if upgrade {
		_, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		return err
	}
	_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
	return err
}

func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	return strings.TrimRight(line, "\r\n"), err
}

func (u *Upstream) serveGRPC(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	got := &Received{Line: Text(r.Method + " " + r.RequestURI + " " + r.Proto), Body: Text(body), Headers: []Text{Text("Host: " + r.Host)}}
	got.Headers = append(got.Headers, headerLines(r.Header)...)
	u.put(got)
	w.Header().Set("Content-Type", "application/grpc")
	w.WriteHeader(http.StatusOK)
	w.Write([]byte{0, 0, 0, 0, 0})
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}
