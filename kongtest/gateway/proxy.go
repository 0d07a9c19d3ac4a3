package gateway

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

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/internal/nginx"
)

// proxy sends the request on, with what the plugins have changed, and returns
// the service's answer.
func (w *worker) proxy(x *exchange) *response {
	content, err := x.Body()
	if err != nil {
		x.Fail(400, "Bad request")
		return x.exited()
	}
	kong := time.Since(x.Started)
	sent := time.Now()
	var res *response
	if strings.HasPrefix(x.Upstream.Scheme, "grpc") {
		res, err = w.gw.upstreams.roundTripHTTP2(x, content)
	} else {
		res, err = w.gw.upstreams.roundTrip(x, content)
	}
	if err != nil {
		var dns *net.DNSError
		var timeout net.Error
		switch {
		case errors.As(err, &dns):
			x.Log("error", err.Error())
			x.Fail(503, "name resolution failed")
		case errors.As(err, &timeout) && timeout.Timeout():
			x.Fail(504, "The upstream server is timing out")
		default:
			x.Log("error", err.Error())
			x.Fail(502, "An invalid response was received from the upstream server")
		}
		return x.exited()
	}
	if !slices.ContainsFunc(res.header, func(h kongtest.Header) bool { return strings.EqualFold(h.Name, "server") }) {
		res.header = append(res.header, line("Server", serverName))
	}
	for i, h := range res.header {
		if strings.EqualFold(h.Name, "content-type") && slices.Contains(charsetTypes, h.Value) {
			res.header[i].Value += "; charset=UTF-8"
		}
	}
	res.header = append(res.header, x.ResponseHeader...)
	if x.ResponseStatus != 0 {
		res.status = x.ResponseStatus
	}
	res.header = append(res.header,
		line("X-Kong-Upstream-Latency", strconv.FormatInt(time.Since(sent).Milliseconds(), 10)),
		line("X-Kong-Proxy-Latency", strconv.FormatInt(kong.Milliseconds(), 10)),
		line("Via", via(strings.HasPrefix(x.Upstream.Scheme, "grpc"))),
		line("X-Kong-Request-Id", x.Request.Vars["kong_request_id"]),
	)
	return res
}

// charsetTypes are the content types to which nginx adds a charset (charset UTF-8 in
// Kong's template, and nginx's default charset_types).
var charsetTypes = []string{"text/html", "text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml"}

// forwardedFor is X-Forwarded-For: the client's own value and the address that
// connected, or, without a value, the client's address.
func (x *exchange) forwardedFor() string {
	if sent := x.Request.Values("x-forwarded-for"); len(sent) > 0 {
		return sent[0] + ", " + x.Request.Client.Addr().String()
	}
	return x.Request.Forwarded.Addr().String()
}

// via is a Via header: a protocol's version and Kong's name.
func via(http2 bool) string {
	if http2 {
		return "2 " + serverName
	}
	return "1.1 " + serverName
}

// forwarded are the header lines for the service.
func (x *exchange) forwarded() []kongtest.Header {
	out := []kongtest.Header{line("Host", x.Upstream.Host)}
	own := []string{
		"host", "content-length", "expect", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host",
		"x-forwarded-port", "x-forwarded-path", "x-forwarded-prefix", "x-real-ip", "x-kong-request-id",
	}
	named := x.namedInConnection()
	for _, h := range x.Upstream.Header {
		if name := strings.ToLower(h.Name); !hopByHop(name) && !slices.Contains(own, name) && !slices.Contains(named, name) {
			out = append(out, h)
		}
	}
	path := x.Request.Path()
	trust := func(name, value string) string {
		if v := x.TrustedHeader(name); v != "" {
			return v
		}
		return value
	}
	out = append(out,
		line("X-Forwarded-For", x.forwardedFor()),
		line("X-Forwarded-Proto", trust("x-forwarded-proto", x.Request.Scheme)),
		line("X-Forwarded-Host", trust("x-forwarded-host", x.Request.Host)),
		line("X-Forwarded-Port", trust("x-forwarded-port", strconv.Itoa(x.Request.Port))),
		line("X-Forwarded-Path", trust("x-forwarded-path", path)),
		line("X-Real-IP", x.Request.Forwarded.Addr().String()),
		line("Via", via(x.Request.HTTPVersion >= 2)),
		line("X-Kong-Request-Id", x.Request.Vars["kong_request_id"]),
	)
	if m := x.match; m.StripPath && m.prefix != "" {
		out = append(out, line("X-Forwarded-Prefix", trust("x-forwarded-prefix", m.prefix)))
	}
	if up := x.Request.Values("upgrade"); len(up) > 0 && strings.EqualFold(up[0], "websocket") && x.Request.HTTPVersion < 2 {
		return append(out, line("Upgrade", "websocket"), line("Connection", "keep-alive, Upgrade"))
	}
	if x.Upstream.Scheme == "http" || x.Upstream.Scheme == "https" {
		out = append(out, line("Connection", "keep-alive"))
	}
	if slices.Contains(x.Request.Values("te"), "trailers") {
		out = append(out, line("TE", "trailers"))
	}
	return out
}

// namedInConnection are the headers, in lower case, that Kong removes after
// the plugins have run because the client's Connection header names them. Kong
// has kept the first such header as it was before any plugin ran
// (get_header in kong/tools/http.lua), so a plugin that sets it changes nothing
// unless it removes the kept headers from ngx.ctx too.
func (x *exchange) namedInConnection() []string {
	connection := x.CachedHeaders()["connection"]
	if list, ok := connection.([]any); ok {
		connection = list[0]
	}
	var names []string
	for name := range strings.SplitSeq(strings.ToLower(lua.Text(connection)), ",") {
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

// upstreamTimeout is that of each connect and of each round trip.
const upstreamTimeout = time.Minute

// upstreamConn is a connection to a service.
type upstreamConn struct {
	net.Conn
	r *bufio.Reader
}

// upstreams keeps connections to services.
type upstreams struct {
	h2     *http.Transport
	ctx    context.Context // ends with close
	cancel context.CancelFunc

	mu   sync.Mutex
	idle map[string][]*upstreamConn // by scheme and address
	open map[*upstreamConn]bool     // idle or not
}

func newUpstreams() *upstreams {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	u := &upstreams{
		h2:   &http.Transport{Protocols: &protocols, DisableCompression: true},
		idle: map[string][]*upstreamConn{}, open: map[*upstreamConn]bool{},
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

func (u *upstreams) drop(c *upstreamConn) error {
	u.mu.Lock()
	delete(u.open, c)
	u.mu.Unlock()
	return c.Close()
}

// roundTrip speaks HTTP/1.1, byte for byte as the client's header lines were.
func (u *upstreams) roundTrip(x *exchange, content []byte) (*response, error) {
	target := x.Upstream.Path
	if x.Upstream.RawQuery != "" || strings.HasSuffix(x.Request.URI, "?") {
		target += "?" + x.Upstream.RawQuery
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", x.Upstream.Method, target)
	for _, h := range x.forwarded() {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	if content != nil {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(content))
	}
	b.WriteString("\r\n")
	b.Write(content)

	key := x.Upstream.Scheme + "://" + x.Upstream.Address
	for {
		c, reused, err := u.get(key, x.Upstream.Scheme, x.Upstream.Address)
		if err != nil {
			return nil, err
		}
		res, err := u.exchange(c, key, x.Upstream.Method, b.Bytes())
		if err != nil {
			u.drop(c)
			if reused && u.ctx.Err() == nil {
				continue // it was closed at that moment; nginx tries another one too
			}
		}
		return res, err
	}
}

func (u *upstreams) exchange(c *upstreamConn, key, method string, request []byte) (*response, error) {
	c.SetDeadline(time.Now().Add(upstreamTimeout))
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
			res.header = append(res.header, line(name, v))
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
	c *upstreamConn
	u *upstreams
}

func (t tunnel) Write(b []byte) (int, error) { return t.c.Write(b) }
func (t tunnel) Close() error                { return t.u.drop(t.c) }

// upstreamBody gives the connection back when the answer has been read.
type upstreamBody struct {
	res *http.Response
	c   *upstreamConn
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

func (u *upstreams) get(key, scheme, address string) (c *upstreamConn, reused bool, err error) {
	for {
		u.mu.Lock()
		list := u.idle[key]
		if len(list) == 0 {
			u.mu.Unlock()
			break
		}
		c, u.idle[key] = list[len(list)-1], list[:len(list)-1]
		u.mu.Unlock()
		if scheme == "https" || nginx.Quiet(c.Conn) {
			return c, true, nil
		}
		u.drop(c)
	}
	dialer := &net.Dialer{Timeout: upstreamTimeout}
	conn, err := dialer.DialContext(u.ctx, "tcp", address)
	if err != nil {
		return nil, false, err
	}
	if scheme == "https" {
		host, _, _ := net.SplitHostPort(address)
		conn = tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true}) // Kong's tls_verify is off by default
	}
	c = &upstreamConn{Conn: conn, r: bufio.NewReader(conn)}
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
func (u *upstreams) roundTripHTTP2(x *exchange, content []byte) (*response, error) {
	url := "http://" + x.Upstream.Address + x.Upstream.Path
	if x.Upstream.RawQuery != "" {
		url += "?" + x.Upstream.RawQuery
	}
	req, err := http.NewRequestWithContext(u.ctx, x.Upstream.Method, url, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	req.Host = x.Upstream.Host
	for _, h := range x.forwarded()[1:] { // without Host
		req.Header.Add(h.Name, h.Value)
	}
	r, err := u.h2.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res := &response{status: r.StatusCode, length: r.ContentLength, body: r.Body}
	for name, list := range r.Header {
		for _, v := range list {
			res.header = append(res.header, line(name, v))
		}
	}
	res.trailer = func() (out []kongtest.Header) {
		for name, list := range r.Trailer {
			for _, v := range list {
				out = append(out, line(name, v))
			}
		}
		return out
	}
	return res, nil
}
