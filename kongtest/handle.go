package kongtest

import (
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// response is what goes back to a client.
type response struct {
	status  int
	header  []Header
	body    io.ReadCloser // nil for none
	length  int64         // of the body; -1 if not known
	trailer func() []Header
	tunnel  io.ReadWriteCloser // after a 101: the upstream's connection
}

// handle takes a request through Kong's phases: router, plugins, proxy.
func (w *worker) handle(req *Request) *response {
	g := w.gw
	snapshot, _ := w.prepare()
	req.BodyBuffer = g.options.BodyBuffer
	req.TempDir = g.options.Prefix
	req.Consumers = database{snapshot.consumers, g}
	req.Trusted = slices.ContainsFunc(g.options.TrustedIPs, func(p netip.Prefix) bool { return p.Contains(req.Client.Addr()) })
	if req.Trusted {
		req.Forwarded = forwardedBy(g.options.RealIPHeader, values(req.Header, g.options.RealIPHeader))
	}
	x := newExchange(req)
	x.emit = func(l LogLine) { g.log(l.Level, l.Text) }
	defer x.body.remove()
	rounds := map[string]int{}
	var res *response
	if m := snapshot.route(x.req); !x.routed(m) {
		res = x.exited()
	} else if w.access(x, rounds); x.exit != nil {
		res = x.exited()
	} else {
		res = w.proxy(x, m)
	}
	w.log(x)
	g.record(x, res.status, rounds)
	return res
}

// forwardedBy is the client that a trusted proxy names, without real_ip_recursive:
// the last address, which may have a port. One that is none is ignored.
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

// routed sets what the matched route means for the request, or answers it
// where Kong does so itself.
func (x *exchange) routed(m *match) bool {
	switch {
	case m == nil:
		x.fail(404, "no Route matched with those values")
		return false
	case x.req.Scheme == "http" && !slices.ContainsFunc(m.Protocols, func(p string) bool { return p == "http" || p == "grpc" }):
		x.respHeader = append(x.respHeader, Header{"Upgrade", "TLS/1.2, HTTP/1.1"}, Header{"Connection", "Upgrade"})
		x.fail(426, "Please use HTTPS protocol")
		return false
	case m.service == nil:
		x.fail(503, "no Service found with those values")
		return false
	}
	x.req.Route, x.req.Service = &m.Route, m.service
	path, _ := x.req.split()
	x.up.Scheme = m.service.Protocol
	x.up.Address = net.JoinHostPort(m.service.Host, strconv.Itoa(m.service.Port))
	x.up.Path = escapePath(m.upstreamPath(normalizePath(path)))
	x.up.Host = m.service.Host
	if m.service.Port != map[string]int{"http": 80, "grpc": 80, "https": 443, "grpcs": 443}[m.service.Protocol] {
		x.up.Host = x.up.Address
	}
	if host := values(x.req.Header, "host"); m.PreserveHost && len(host) > 0 {
		x.up.Host = host[0]
	}
	return true
}

// exited is the answer that a plugin, or Kong itself, has given.
func (x *exchange) exited() *response {
	header := append(slices.Clone(x.exit.Header),
		Header{"Date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")},
		Header{"X-Kong-Response-Latency", strconv.FormatInt(time.Since(x.started).Milliseconds(), 10)},
		Header{"Server", serverName},
		Header{"X-Kong-Request-Id", x.req.Vars["kong_request_id"]},
	)
	return &response{
		status: x.exit.Status, header: header,
		body: io.NopCloser(strings.NewReader(string(x.exit.Body))), length: int64(len(x.exit.Body)),
	}
}

const serverName = "kong/3.9.1"

// database is Kong's, as of one configuration.
type database struct {
	ConsumerList
	gw *Gateway
}

func (d database) Consumer(id string) *Consumer {
	if d.gw.databaseDown.Load() {
		return nil
	}
	return d.ConsumerList.Consumer(id)
}

func (d database) ConsumerByUsername(username string) *Consumer {
	if d.gw.databaseDown.Load() {
		return nil
	}
	return d.ConsumerList.ConsumerByUsername(username)
}
