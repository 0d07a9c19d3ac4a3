package recording

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Observed is what was seen of a case.
type Observed struct {
	Case    string    `json:"case"`
	Request Text      `json:"request,omitempty"` // as sent over HTTP/1
	Events  []string  `json:"events"`            // calls of Kong's to the plugin server
	Replies []Reply   `json:"replies,omitempty"`
	Service *Received `json:"service"` // nil if the request wasn't proxied
	Client  *Answer   `json:"client"`
}

// Reply is Kong's answer to one call of the plugin's.
type Reply struct {
	Call
	Reply []byte `json:"reply,omitempty"`
}

// Answer is what the client received.
type Answer struct {
	Status  int    `json:"status"`
	Headers []Text `json:"headers"` // sorted
	Body    Text   `json:"body,omitempty"`
	Trailer []Text `json:"trailer,omitempty"`
}

// timeout limits every wait for Kong.
const timeout = 15 * time.Second

// Run runs cases on a Kong that serves [Config].
func Run(k Kong, p *Probe, u *Upstream, cases []Case) ([]Observed, error) {
	all := make([]Observed, 0, len(cases))
	for _, c := range cases {
		o, err := runCase(k, p, u, c)
		if err != nil {
			return nil, fmt.Errorf("case %q: %w", c.Name, err)
		}
		all = append(all, o)
	}
	return all, nil
}

func runCase(k Kong, p *Probe, u *Upstream, c Case) (Observed, error) {
	u.take()
	p.setScript(c.script)
	var answer *Answer
	var err error
	if c.HTTP2 != nil {
		answer, err = sendHTTP2(k.H2Addr(), c.HTTP2)
	} else {
		answer, err = sendHTTP1(k.Addr(), strings.ReplaceAll(c.Request, "$HOST", k.Addr()), c.Trusted)
	}
	if err != nil {
		return Observed{}, err
	}
	o := Observed{Case: c.Name, Request: Text(c.Request), Client: answer, Service: u.take()}
	seen, replies := p.observed()
	for _, s := range seen {
		// Which request starts a worker's instance is chance.
		if !strings.HasPrefix(s, "start ") {
			o.Events = append(o.Events, s)
		}
	}
	for i, r := range replies {
		o.Replies = append(o.Replies, Reply{c.calls[i], r})
	}
	o.normalise(k, u)
	return o, nil
}

var requestID = regexp.MustCompile(`[0-9a-f]{32}`)

// normalise replaces what differs from run to run: ports, request ids, times, and
// the order of Lua's tables.
func (o *Observed) normalise(k Kong, u *Upstream) {
	id := ""
	for _, h := range o.Client.Headers {
		if v, ok := strings.CutPrefix(string(h), "X-Kong-Request-Id: "); ok {
			id = v
		}
	}
	port := func(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }
	// Each by a text of the same length, so that lengths in replies still fit.
	var pairs []string
	for addr, digit := range map[string]string{k.H2Addr(): "1", u.plain.Addr().String(): "3", u.grpc.Addr().String(): "4"} {
		pairs = append(pairs, port(addr), strings.Repeat(digit, len(port(addr))))
	}
	pairs = append(pairs, port(k.Addr()), strings.Repeat("1", len(port(k.Addr()))))
	if requestID.MatchString(id) {
		pairs = append(pairs, id, strings.Repeat("0", len(id)))
	}
	same := strings.NewReplacer(pairs...)
	replace := func(t *Text) { *t = Text(same.Replace(string(*t))) }
	lines := func(list []Text) {
		for i := range list {
			replace(&list[i])
		}
		slices.Sort(list)
	}
	if s := o.Service; s != nil {
		lines(s.Headers)
		replace(&s.Line)
	}
	for i, h := range o.Client.Headers {
		name, _, _ := strings.Cut(string(h), ":")
		switch {
		case name == "Date", strings.HasPrefix(name, "X-Kong-") && strings.HasSuffix(name, "-Latency"):
			o.Client.Headers[i] = Text(name + ": *")
		}
	}
	lines(o.Client.Headers)
	replace(&o.Client.Body)
	for i := range o.Replies {
		r := &o.Replies[i]
		r.Reply = []byte(same.Replace(string(r.Reply)))
		r.Reply = canonical(r.Method, r.Reply)
	}
}

// canonical puts a reply's fields in order, and replaces the path of a file.
func canonical(method string, reply []byte) []byte {
	type field struct {
		number protowire.Number
		bytes  []byte
	}
	var all []field
	for rest := reply; len(rest) > 0; {
		number, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			return reply
		}
		f := field{number, rest[:n]}
		if method == "kong.request.get_raw_body" && number == 2 {
			f.bytes = protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "<a file>")
		}
		all = append(all, f)
		rest = rest[n:]
	}
	slices.SortStableFunc(all, func(a, b field) int {
		if a.number != b.number {
			return int(a.number - b.number)
		}
		if strings.HasSuffix(method, ".get_headers") { // a map's entries
			return bytes.Compare(a.bytes, b.bytes)
		}
		return 0
	})
	var out []byte
	for _, f := range all {
		out = append(out, f.bytes...)
	}
	return out
}

func sendHTTP1(addr, request string, trusted bool) (*Answer, error) {
	from := net.IPv4(127, 0, 0, 1)
	if trusted {
		from = net.ParseIP(TrustedClient)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: timeout}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(c, request); err != nil {
		return nil, err
	}
	method, _, _ := strings.Cut(request, " ")
	r := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusContinue {
			return answer(resp)
		}
	}
}

func sendHTTP2(addr string, h *http2Request) (*Answer, error) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DisableCompression: true}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var body io.Reader
	if h.Body != "" {
		body = strings.NewReader(h.Body)
		if h.NoLength {
			body = io.MultiReader(body)
		}
	}
	req, err := http.NewRequestWithContext(ctx, h.Method, "http://"+addr+h.Path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(h.Header); i += 2 {
		req.Header.Add(h.Header[i], h.Header[i+1])
	}
	req.Header.Set("User-Agent", "recording")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return answer(resp)
}

func answer(resp *http.Response) (*Answer, error) {
	a := &Answer{Status: resp.StatusCode, Headers: headerLines(resp.Header)}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return a, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	a.Body, a.Trailer = Text(body), headerLines(resp.Trailer)
	return a, nil
}

func headerLines(h http.Header) []Text {
	var lines []Text
	for name, values := range h {
		for _, v := range values {
			lines = append(lines, Text(name+": "+v))
		}
	}
	slices.Sort(lines)
	return lines
}
