package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/internal/nginx"
)

// front is one client's connection. HTTP/1 is read by hand: net/http would
// canonicalise names, lose the order of header lines, and refuse bytes that
// nginx lets pass.
type front struct {
	net.Conn
	r *bufio.Reader
	w *worker

	mu       sync.Mutex
	idle     bool   // kept alive after a request, waiting for another
	closed   bool   // by quit
	shutdown func() // of HTTP/2
}

// serve accepts connections until the listener is closed.
func (g *Gateway) serve() {
	for {
		c, err := g.listener.Accept()
		if err != nil {
			return
		}
		g.mu.Lock()
		w := g.current.accept()
		f := &front{Conn: c, r: bufio.NewReaderSize(c, 8<<10), w: w}
		w.mu.Lock()
		w.fronts[f] = true
		w.mu.Unlock()
		closed := g.closed
		g.mu.Unlock()
		if closed {
			c.Close()
			return
		}
		g.fronts.Go(func() {
			defer func() {
				c.Close()
				w.mu.Lock()
				delete(w.fronts, f)
				w.mu.Unlock()
			}()
			f.serve()
		})
	}
}

func (f *front) serve() {
	if preface, _ := f.r.Peek(4); string(preface) == "PRI " {
		f.serveHTTP2()
		return
	}
	for f.serveRequest() {
	}
}

// serveRequest reads and answers one request, and reports whether another may
// follow.
func (f *front) serveRequest() (again bool) {
	if _, err := f.r.Peek(1); err != nil || !f.w.gen.enter() {
		return false
	}
	defer f.w.gen.leave()
	if !f.begin() {
		return false
	}
	req, body, err := f.readRequest()
	if err != nil {
		var bad *badRequest
		if errors.As(err, &bad) {
			f.refuse(bad)
		}
		return false
	}
	done := make(chan struct{})
	defer close(done)
	req.Done = done
	res := f.w.handle(req)
	keep := body.keepAlive && !f.w.gen.isQuitting()
	if !f.writeResponse(req, res, keep) {
		return false
	}
	if !keep || !body.discard(f.Conn) {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle = true
	return true
}

// begin marks the beginning of a request. It fails if quit has closed the
// connection since the request's first byte came: the client would never get the
// answer, and sends the request again.
func (f *front) begin() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.idle = false
	return !f.closed
}

// quit closes a connection that is kept alive. A new one may still make its
// first request, as in nginx.
func (f *front) quit() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.shutdown != nil {
		f.shutdown()
	} else if f.idle && nginx.Quiet(f.Conn) {
		f.closed = true
		f.Close()
	}
}

// badRequest is a request that nginx answers by itself.
type badRequest struct {
	status int
	reason string
}

func (e *badRequest) Error() string { return e.reason }

func bad(reason string) error { return &badRequest{400, reason} }

func (f *front) refuse(e *badRequest) {
	f.w.gw.log("info", e.reason+" while reading client request")
	page := fmt.Sprintf("{\n  \"message\":\"%s\",\n  \"request_id\":\"%s\"\n}", "Bad request", nginx.RequestID())
	f.writeResponse(&kongtest.Request{}, &response{
		status: e.status, header: []kongtest.Header{
			line("Content-Type", "application/json; charset=utf-8"), line("Server", serverName), line("Content-Length", strconv.Itoa(len(page))),
		},
		body: io.NopCloser(strings.NewReader(page)), length: int64(len(page)),
	}, false)
}

// readRequest reads the request line and the header lines.
func (f *front) readRequest() (*kongtest.Request, *clientBody, error) {
	budget := f.w.gw.options.MaxHeaderBytes
	line, err := f.readLine(&budget)
	for err == nil && line == "" {
		line, err = f.readLine(&budget)
	}
	if err != nil {
		return nil, nil, err
	}
	req := &kongtest.Request{Scheme: "http", Client: addrPort(f.RemoteAddr()), Port: int(addrPort(f.LocalAddr()).Port())}
	if err := parseRequestLine(line, req); err != nil {
		return nil, nil, err
	}
	for {
		line, err := f.readLine(&budget)
		if err != nil {
			return nil, nil, err
		}
		if line == "" {
			break
		}
		h, err := parseHeader(line)
		if err != nil {
			return nil, nil, err
		}
		if h.Name == "" {
			continue
		}
		req.Header = append(req.Header, h)
		if limit := f.w.gw.options.MaxHeaders; limit > 0 && len(req.Header) > limit {
			return nil, nil, bad("client sent too many header lines")
		}
	}
	body, err := f.checkHeaders(req)
	return req, body, err
}

func (f *front) readLine(budget *int) (string, error) {
	var line []byte
	for {
		part, err := f.r.ReadSlice('\n')
		line = append(line, part...)
		if *budget -= len(part); *budget < 0 {
			return "", &badRequest{400, "client sent too large header"}
		}
		if err == nil {
			return strings.TrimSuffix(string(line[:len(line)-1]), "\r"), nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return "", err
		}
	}
}

func parseRequestLine(line string, req *kongtest.Request) error {
	method, rest, ok := strings.Cut(line, " ")
	uri, version, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 || method == "" || strings.ContainsFunc(method, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '_' && r != '-' }) {
		return bad("client sent invalid method")
	}
	switch version {
	case "HTTP/1.1":
		req.HTTPVersion = 1.1
	case "HTTP/1.0":
		req.HTTPVersion = 1
	default:
		return &badRequest{505, "client sent invalid version"}
	}
	if after, ok := strings.CutPrefix(uri, "http://"); ok {
		slash := strings.IndexAny(after, "/?")
		if slash < 0 {
			slash, after = len(after), after+"/"
		}
		req.Host = nginx.HostOnly(after[:slash])
		uri = after[slash:]
	}
	if !strings.HasPrefix(uri, "/") {
		return bad("client sent invalid request")
	}
	for i := range len(uri) {
		if uri[i] <= ' ' || uri[i] == 0x7f {
			return bad("client sent invalid request")
		}
	}
	path, _, _ := strings.Cut(uri, "?")
	for i := range len(path) {
		if path[i] == '%' && (i+2 >= len(path) || !lua.IsHex(path[i+1]) || !lua.IsHex(path[i+2])) {
			return bad("client sent invalid request")
		}
	}
	req.Method, req.URI = method, uri
	return nil
}

// parseHeader returns a header line, without a name if nginx would ignore it.
func parseHeader(text string) (kongtest.Header, error) {
	name, value, ok := strings.Cut(text, ":")
	if !ok || name == "" {
		return kongtest.Header{}, bad("client sent invalid header line")
	}
	valid := true
	for i := range len(name) {
		if name[i] <= ' ' || name[i] == 0x7f {
			return kongtest.Header{}, bad("client sent invalid header line")
		}
		valid = valid && (lua.IsAlnum(name[i]) || name[i] == '-' || name[i] == '_')
	}
	if strings.IndexByte(value, 0) >= 0 {
		return kongtest.Header{}, bad("client sent invalid header line")
	}
	if !valid {
		return kongtest.Header{}, nil
	}
	return line(name, strings.Trim(value, " ")), nil // nginx leaves tabs
}

// checkHeaders does what nginx does with the headers it knows, and prepares
// the body.
func (f *front) checkHeaders(req *kongtest.Request) (*clientBody, error) {
	hosts := req.Values("host")
	if len(hosts) > 1 || len(hosts) == 0 && req.HTTPVersion > 1 {
		return nil, bad("client sent HTTP/1.1 request without or with more than one \"Host\" header")
	}
	if len(hosts) == 1 && req.Host == "" {
		req.Host = nginx.HostOnly(hosts[0])
	}
	connection := strings.ToLower(strings.Join(req.Values("connection"), ","))
	b := &clientBody{r: f.r, keepAlive: req.HTTPVersion > 1 && !strings.Contains(connection, "close")}
	lengths, coding := req.Values("content-length"), req.Values("transfer-encoding")
	switch {
	case len(lengths) > 1, len(coding) > 1, len(coding) == 1 && (len(lengths) == 1 || req.HTTPVersion == 1):
		return nil, bad("client sent \"Content-Length\" and \"Transfer-Encoding\" headers that contradict each other")
	case len(coding) == 1:
		if !strings.EqualFold(coding[0], "chunked") {
			return nil, &badRequest{501, "client sent unknown \"Transfer-Encoding\""}
		}
		b.chunked()
	case len(lengths) == 1:
		n, err := strconv.ParseUint(lengths[0], 10, 62)
		if err != nil {
			return nil, bad("client sent invalid \"Content-Length\" header")
		}
		b.reader = io.LimitReader(f.r, int64(n))
		b.left = int64(n)
	default:
		b.ended = true
		return b, nil
	}
	if req.HTTPVersion > 1 && slices.ContainsFunc(req.Values("expect"), func(v string) bool { return strings.EqualFold(v, "100-continue") }) {
		b.proceed = f.Conn
	}
	req.Body = b
	return b, nil
}

// writeResponse sends a response and reports whether it was whole.
func (f *front) writeResponse(req *kongtest.Request, res *response, keep bool) bool {
	w := bufio.NewWriter(f.Conn)
	fmt.Fprintf(w, "HTTP/1.1 %d %s\r\n", res.status, http.StatusText(res.status))
	bodiless := req.Method == "HEAD" || res.status == 204 || res.status == 304 || res.status < 200
	chunked := !bodiless && res.length < 0 && res.body != nil
	for _, h := range res.header {
		if !strings.EqualFold(h.Name, "connection") || res.tunnel != nil {
			fmt.Fprintf(w, "%s: %s\r\n", h.Name, h.Value)
		}
	}
	if chunked {
		w.WriteString("Transfer-Encoding: chunked\r\n")
	}
	if res.tunnel == nil {
		w.WriteString("Connection: " + map[bool]string{true: "keep-alive", false: "close"}[keep] + "\r\n")
	}
	w.WriteString("\r\n")
	if res.body != nil {
		defer res.body.Close()
	}
	switch {
	case res.tunnel != nil:
		w.Flush()
		f.tunnel(res.tunnel)
		return false
	case bodiless || res.body == nil:
	case chunked:
		if !writeChunks(w, res.body) {
			w.Flush()
			return false
		}
	default:
		if n, err := io.Copy(w, res.body); err != nil || n != res.length {
			w.Flush()
			return false
		}
	}
	return w.Flush() == nil
}

func writeChunks(w *bufio.Writer, r io.Reader) bool {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			fmt.Fprintf(w, "%x\r\n", n)
			w.Write(buf[:n])
			w.WriteString("\r\n")
			w.Flush()
		}
		if err == io.EOF {
			w.WriteString("0\r\n\r\n")
			return true
		}
		if err != nil {
			return false
		}
	}
}

// tunnel copies both ways until either side ends, as after an upgrade.
func (f *front) tunnel(upstream io.ReadWriteCloser) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(upstream, f.r)
		upstream.Close()
	}()
	io.Copy(f.Conn, upstream)
	f.Close()
	upstream.Close()
	<-done
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		ap := t.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}

// How long nginx reads on, in all and between two reads, when it has answered a
// request before its body came.
const (
	lingeringTime    = 30 * time.Second
	lingeringTimeout = 5 * time.Second
)
