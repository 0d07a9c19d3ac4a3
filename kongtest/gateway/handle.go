package gateway

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/internal/nginx"
)

// exchange is one request on its way through the gateway.
type exchange struct {
	*kongtest.Exchange
	match  *match
	rounds map[string]int // runs of each external plugin's event
}

// response is what goes back to a client.
type response struct {
	status  int
	header  []kongtest.Header
	body    io.ReadCloser // nil for none
	length  int64         // of the body; -1 if not known
	trailer func() []kongtest.Header
	tunnel  io.ReadWriteCloser // after a 101: the upstream's connection
}

// handle takes a request through Kong's phases: router, plugins, proxy.
func (w *worker) handle(req *kongtest.Request) *response {
	g := w.gw
	configuration, _ := w.prepare()
	req.BodyBuffer = g.options.BodyBuffer
	req.TempDir = g.options.Prefix
	req.Consumers = database{configuration.consumers, g}
	req.Trusted = slices.ContainsFunc(g.options.TrustedIPs, func(p netip.Prefix) bool { return p.Contains(req.Client.Addr()) })
	if req.Trusted {
		req.Forwarded = forwardedBy(g.options.RealIPHeader, req.Values(g.options.RealIPHeader))
	}
	x := &exchange{Exchange: kongtest.NewExchange(req), rounds: map[string]int{}}
	x.OnLog = g.addLine
	defer x.Close()
	x.match = configuration.route(x.Request)
	var res *response
	if x.routed() {
		w.access(x)
	}
	if x.Exit != nil {
		res = x.exited()
	} else {
		res = w.proxy(x)
	}
	w.log(x)
	g.record(x, res.status)
	return res
}

// forwardedBy is the client that a trusted proxy names, without real_ip_recursive:
// the last address, which may have a port. An invalid one is ignored.
func forwardedBy(header string, lines []string) (client netip.AddrPort) {
	if len(lines) == 0 {
		return client
	}
	last := lines[0]
	if strings.EqualFold(header, "x-forwarded-for") {
		last = lines[len(lines)-1]
	}
	last = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
	if client, err := netip.ParseAddrPort(last); err == nil {
		return client
	}
	if addr, err := netip.ParseAddr(last); err == nil {
		client = netip.AddrPortFrom(addr, 0)
	}
	return client
}

// routed prepares the request for its route's service. It reports false where Kong
// answers by itself.
func (x *exchange) routed() bool {
	m := x.match
	switch {
	case m == nil:
		x.Fail(404, "no Route matched with those values")
		return false
	case x.Request.Scheme == "http" && !slices.ContainsFunc(m.Protocols, func(p string) bool { return p == "http" || p == "grpc" }):
		x.ResponseHeader = append(x.ResponseHeader, line("Upgrade", "TLS/1.2, HTTP/1.1"), line("Connection", "Upgrade"))
		x.Fail(426, "Please use HTTPS protocol")
		return false
	case m.service == nil:
		x.Fail(503, "no Service found with those values")
		return false
	}
	x.Request.Route, x.Request.Service = &m.Route, m.service
	path := x.Request.Path()
	x.Upstream.Scheme = m.service.Protocol
	x.Upstream.Address = net.JoinHostPort(m.service.Host, strconv.Itoa(m.service.Port))
	x.Upstream.Path = nginx.EscapePath(m.upstreamPath(nginx.NormalizePath(path)))
	x.Upstream.Host = m.service.Host
	if m.service.Port != map[string]int{"http": 80, "grpc": 80, "https": 443, "grpcs": 443}[m.service.Protocol] {
		x.Upstream.Host = x.Upstream.Address
	}
	if host := x.Request.Values("host"); m.PreserveHost && len(host) > 0 {
		x.Upstream.Host = host[0]
	}
	return true
}

// exited is the answer that a plugin, or Kong itself, has given.
func (x *exchange) exited() *response {
	header := append(slices.Clone(x.Exit.Header),
		line("Date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")),
		line("X-Kong-Response-Latency", strconv.FormatInt(time.Since(x.Started).Milliseconds(), 10)),
		line("Server", serverName),
		line("X-Kong-Request-Id", x.Request.Vars["kong_request_id"]),
	)
	return &response{
		status: x.Exit.Status, header: header,
		body: io.NopCloser(strings.NewReader(string(x.Exit.Body))), length: int64(len(x.Exit.Body)),
	}
}

const serverName = "kong/3.9.1"

func line(name, value string) kongtest.Header { return kongtest.Header{Name: name, Value: value} }
