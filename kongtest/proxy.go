package kongtest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// proxy sends the request on, with what the plugins have changed, and returns
// the service's answer.
func (w *worker) proxy(x *exchange, m *match) *response {
	if err := x.body.load(); err != nil {
		x.fail(400, "Bad request")
		return x.exited()
	}
	kong := time.Since(x.started)
	sent := time.Now()
	var res *response
	var err error
	if strings.HasPrefix(x.up.Scheme, "grpc") {
		res, err = w.gw.upstreams.roundTripHTTP2(x, x.forwarded(m))
	} else {
		res, err = w.gw.upstreams.roundTrip(x, x.forwarded(m))
	}
	if err != nil {
		var dns *net.DNSError
		var timeout net.Error
		switch {
		case errors.As(err, &dns):
			x.say("error", err.Error())
			x.fail(503, "name resolution failed")
		case errors.As(err, &timeout) && timeout.Timeout():
			x.fail(504, "The upstream server is timing out")
		default:
			x.say("error", err.Error())
			x.fail(502, "An invalid response was received from the upstream server")
		}
		return x.exited()
	}
	if len(values(res.header, "server")) == 0 {
		res.header = append(res.header, Header{"Server", serverName})
	}
	for i, h := range res.header {
		if strings.EqualFold(h.Name, "content-type") && slices.Contains(charsetTypes, h.Value) {
			res.header[i].Value += "; charset=UTF-8"
		}
	}
	res.header = append(res.header, x.respHeader...)
	if x.respStatus != 0 {
		res.status = x.respStatus
	}
	res.header = append(res.header,
		Header{"X-Kong-Upstream-Latency", strconv.FormatInt(time.Since(sent).Milliseconds(), 10)},
		Header{"X-Kong-Proxy-Latency", strconv.FormatInt(kong.Milliseconds(), 10)},
		Header{"Via", via(strings.HasPrefix(x.up.Scheme, "grpc"))},
		Header{"X-Kong-Request-Id", x.req.Vars["kong_request_id"]},
	)
	return res
}

// charsetTypes are those to which nginx adds a charset (charset UTF-8 in Kong's
// template, and charset_types as nginx has it).
var charsetTypes = []string{"text/html", "text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml"}

// forwardedFor is what the client sent and who connected, or, where it sent
// nothing, who the client is.
func (x *exchange) forwardedFor() string {
	if sent := values(x.req.Header, "x-forwarded-for"); len(sent) > 0 {
		return sent[0] + ", " + x.req.Client.Addr().String()
	}
	return x.req.Forwarded.Addr().String()
}

// via is a Via header: a protocol's version and Kong's name.
func via(http2 bool) string {
	if http2 {
		return "2 " + serverName
	}
	return "1.1 " + serverName
}

// forwarded are the header lines for the service.
func (x *exchange) forwarded(m *match) []Header {
	out := []Header{{"Host", x.up.Host}}
	own := []string{
		"host", "content-length", "expect", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
		"x-forwarded-port", "x-forwarded-path", "x-forwarded-prefix", "x-real-ip", "x-kong-request-id",
	}
	named := x.namedInConnection()
	for _, h := range x.up.Header {
		if name := strings.ToLower(h.Name); !hopByHop(name) && !slices.Contains(own, name) && !slices.Contains(named, name) {
			out = append(out, h)
		}
	}
	path, _ := x.req.split()
	trust := func(name, value string) string {
		if v := x.trustedHeader(name); v != "" {
			return v
		}
		return value
	}
	out = append(out,
		Header{"X-Forwarded-For", x.forwardedFor()},
		Header{"X-Forwarded-Proto", trust("x-forwarded-proto", x.req.Scheme)},
		Header{"X-Forwarded-Host", trust("x-forwarded-host", x.req.Host)},
		Header{"X-Forwarded-Port", trust("x-forwarded-port", strconv.Itoa(x.req.Port))},
		Header{"X-Forwarded-Path", trust("x-forwarded-path", path)},
		Header{"X-Real-IP", x.req.Forwarded.Addr().String()},
		Header{"Via", via(x.req.HTTPVersion >= 2)},
		Header{"X-Kong-Request-Id", x.req.Vars["kong_request_id"]},
	)
	if m.StripPath && m.prefix != "" {
		out = append(out, Header{"X-Forwarded-Prefix", trust("x-forwarded-prefix", m.prefix)})
	}
	if up := values(x.req.Header, "upgrade"); len(up) > 0 && strings.EqualFold(up[0], "websocket") && x.req.HTTPVersion < 2 {
		return append(out, Header{"Upgrade", "websocket"}, Header{"Connection", "keep-alive, Upgrade"})
	}
	if x.up.Scheme == "http" || x.up.Scheme == "https" {
		out = append(out, Header{"Connection", "keep-alive"})
	}
	if slices.Contains(values(x.req.Header, "te"), "trailers") {
		out = append(out, Header{"TE", "trailers"})
	}
	return out
}

// namedInConnection are the headers, in lower case, that Kong removes after
// the plugins have run because the client's Connection header names them. Kong
// has kept the first such header as it was before any plugin ran
// (get_header in kong/tools/http.lua), so a plugin that sets it changes nothing
// unless it takes what was kept out of ngx.ctx too.
func (x *exchange) namedInConnection() []string {
	kept, ok := x.ctx[cachedHeaders].(map[string]any)
	if !ok {
		kept = x.headerCache()
	}
	connection := kept["connection"]
	if list, ok := connection.([]any); ok {
		connection = list[0]
	}
	var names []string
	for name := range strings.SplitSeq(strings.ToLower(text(connection)), ",") {
		if name = strings.TrimSpace(name); name != "" && name != "keep-alive" && name != "close" && name != "upgrade" {
			names = append(names, name)
		}
	}
	return names
}

func hopByHop(name string) bool {
	switch strings.ToLower(name) {
	case "connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// content is the body that goes to the service; has says whether there is one,
// be it empty.
func (x *exchange) content() (b []byte, has bool) {
	if x.up.Body != nil {
		return x.up.Body, true
	}
	return x.body.content, x.req.Body != nil
}

// upstreams keeps connections to services.
type upstreams struct {
	h2     *http.Transport
	ctx    context.Context // ends with close
	cancel context.CancelFunc

	mu   sync.Mutex
	idle map[string][]*connection // by scheme and address
	open map[*connection]bool     // idle or not
}

func newUpstreams() *upstreams {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	u := &upstreams{
		h2:   &http.Transport{Protocols: &protocols, DisableCompression: true},
		idle: map[string][]*connection{}, open: map[*connection]bool{},
	}
	u.ctx, u.cancel = context.WithCancel(context.Background())
	return u
}

// close ends all requests to services.
func (u *upstreams) close() {
	u.cancel()
	u.mu.Lock()
	defer u.mu.Unlock()
	for c := range u.open {
		c.Close()
	}
	u.h2.CloseIdleConnections()
}

func (u *upstreams) drop(c *connection) error {
	u.mu.Lock()
	delete(u.open, c)
	u.mu.Unlock()
	return c.Close()
}

// roundTrip speaks HTTP/1.1, byte for byte as the client's header lines were.
func (u *upstreams) roundTrip(x *exchange, header []Header) (*response, error) {
	target := x.up.Path
	if x.up.RawQuery != "" || strings.HasSuffix(x.req.URI, "?") {
		target += "?" + x.up.RawQuery
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", x.up.Method, target)
	for _, h := range header {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	content, has := x.content()
	if has {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(content))
	}
	b.WriteString("\r\n")
	b.Write(content)

	key := x.up.Scheme + "://" + x.up.Address
	for {
		c, reused, err := u.get(key, x.up.Scheme, x.up.Address)
		if err != nil {
			return nil, err
		}
		res, err := u.exchange(c, key, x.up.Method, b.Bytes())
		if err != nil {
			u.drop(c)
			if reused && u.ctx.Err() == nil {
				continue // it was closed just then; nginx tries another, too
			}
		}
		return res, err
	}
}

func (u *upstreams) exchange(c *connection, key, method string, request []byte) (*response, error) {
	c.SetDeadline(time.Now().Add(c.timeout))
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	r, err := http.ReadResponse(c.r, &http.Request{Method: method})
	for err == nil && r.StatusCode == http.StatusContinue {
		r, err = http.ReadResponse(c.r, &http.Request{Method: method})
	}
	if err != nil {
		return nil, err
	}
	res := &response{status: r.StatusCode, length: r.ContentLength, body: &upstreamBody{r, c, u, key}}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if hopByHop(name) && r.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		for _, v := range r.Header[name] {
			res.header = append(res.header, Header{name, v})
		}
	}
	if r.StatusCode == http.StatusSwitchingProtocols {
		c.SetDeadline(time.Time{})
		res.body, res.tunnel = nil, tunnel{c.r, c, u}
	}
	return res, nil
}

type tunnel struct {
	*bufio.Reader
	c *connection
	u *upstreams
}

func (t tunnel) Write(b []byte) (int, error) { return t.c.Write(b) }
func (t tunnel) Close() error                { return t.u.drop(t.c) }

// upstreamBody gives the connection back when the answer has been read.
type upstreamBody struct {
	res *http.Response
	c   *connection
	u   *upstreams
	key string
}

func (b *upstreamBody) Read(p []byte) (int, error) { return b.res.Body.Read(p) }

func (b *upstreamBody) Close() error {
	_, err := b.res.Body.Read(make([]byte, 1))
	if b.res.Close || !errors.Is(err, io.EOF) || b.c.r.Buffered() > 0 {
		return b.u.drop(b.c)
	}
	b.c.SetDeadline(time.Time{})
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	b.u.idle[b.key] = append(b.u.idle[b.key], b.c)
	return nil
}

func (u *upstreams) get(key, scheme, address string) (c *connection, reused bool, err error) {
	for {
		u.mu.Lock()
		list := u.idle[key]
		if len(list) == 0 {
			u.mu.Unlock()
			break
		}
		c, u.idle[key] = list[len(list)-1], list[:len(list)-1]
		u.mu.Unlock()
		if scheme == "https" || c.alive() {
			return c, true, nil
		}
		u.drop(c)
	}
	dialer := &net.Dialer{Timeout: time.Minute}
	conn, err := dialer.DialContext(u.ctx, "tcp", address)
	if err != nil {
		return nil, false, err
	}
	if scheme == "https" {
		host, _, _ := net.SplitHostPort(address)
		conn = tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true}) // Kong's tls_verify is off by default
	}
	c = &connection{Conn: conn, r: bufio.NewReader(conn), timeout: time.Minute}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ctx.Err() != nil {
		c.Close()
		return nil, false, u.ctx.Err()
	}
	u.open[c] = true
	return c, false, nil
}

// roundTripHTTP2 speaks HTTP/2 to a gRPC service.
func (u *upstreams) roundTripHTTP2(x *exchange, header []Header) (*response, error) {
	content, _ := x.content()
	url := "http://" + x.up.Address + x.up.Path
	if x.up.RawQuery != "" {
		url += "?" + x.up.RawQuery
	}
	req, err := http.NewRequestWithContext(u.ctx, x.up.Method, url, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	req.Host = x.up.Host
	for _, h := range header[1:] {
		req.Header.Add(h.Name, h.Value)
	}
	r, err := u.h2.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res := &response{status: r.StatusCode, length: r.ContentLength, body: r.Body}
	for name, list := range r.Header {
		for _, v := range list {
			res.header = append(res.header, Header{name, v})
		}
	}
	res.trailer = func() (out []Header) {
		for name, list := range r.Trailer {
			for _, v := range list {
				out = append(out, Header{name, v})
			}
		}
		return out
	}
	return res, nil
}
