package kongtest

import (
	"cmp"
	"io"
	"net/netip"
	"strings"

	"kong-vault-auth/kongtest/internal/nginx"
)

// Request is a client's request as nginx hands it to Kong: bytes as they came,
// nothing canonicalised. The zero value is a GET of "/" for localhost.
type Request struct {
	Method      string   // GET
	Scheme      string   // http
	Host        string   // without port; else that of the Host header, else localhost
	Port        int      // at which Kong was reached, 8000
	URI         string   // path and query string as sent; "/"
	HTTPVersion float64  // 1.1; gRPC is recognised only in 2
	Header      []Header // in order, names as sent
	Body        io.Reader

	// BodyBuffer is nginx's client_body_buffer_size, 8 KiB: a larger body is
	// handed to the plugin as the path of a file in TempDir.
	BodyBuffer int
	TempDir    string // os.TempDir()

	Client    netip.AddrPort // who connected, 127.0.0.1:40000
	Forwarded netip.AddrPort // the real client behind a trusted proxy; Client
	Trusted   bool           // Client is one of Kong's trusted_ips

	// Vars are further nginx variables. A missing kong_request_id is generated.
	Vars map[string]string

	// Consumer and Credential are what another plugin authenticated earlier
	// in the same request.
	Consumer   *Consumer
	Credential *Credential

	// Context is what other plugins have put into ngx.ctx.
	Context map[string]any

	// Shared is what they have put into kong.ctx.shared.
	Shared map[string]any

	// Consumers is Kong's database, in which load_consumer looks. A nil one
	// is an empty one.
	Consumers Consumers

	Route   *Route
	Service *Service

	// Upstream is where the request would go before any plugin has run;
	// by default what the client asked for.
	Upstream *Upstream

	// Done ends the request. After an exit Kong leaves the event's
	// connection open until then, neither reading nor writing; without Done
	// it is closed at once.
	Done <-chan struct{}
}

// Header is one header line.
type Header struct{ Name, Value string }

// Consumers finds consumers, as Kong's database does. Nil means not found, or
// that the database can't be reached: Kong's plugins see no difference.
type Consumers interface {
	Consumer(id string) *Consumer
	ConsumerByUsername(username string) *Consumer
}

// ConsumerList is a database of a few consumers.
type ConsumerList []Consumer

// Consumer finds a consumer by its id.
func (l ConsumerList) Consumer(id string) *Consumer {
	for i := range l {
		if l[i].ID == id {
			return &l[i]
		}
	}
	return nil
}

// ConsumerByUsername finds a consumer by its username.
func (l ConsumerList) ConsumerByUsername(username string) *Consumer {
	for i := range l {
		if l[i].Username == username && username != "" {
			return &l[i]
		}
	}
	return nil
}

// Consumer is Kong's consumer entity.
type Consumer struct {
	ID        string   `json:"id"`
	CreatedAt int64    `json:"created_at"` // Unix seconds
	Username  string   `json:"username"`
	CustomID  string   `json:"custom_id"`
	Tags      []string `json:"tags"`
}

// Credential is what Kong keeps of an authenticated credential.
type Credential struct {
	ID         string
	ConsumerID string // empty in the credentials of Kong's own plugins

	// More are further fields of a request's Credential, such as the key of a
	// jwt credential. An Outcome has none.
	More map[string]any
}

// Route is what kong.router.get_route returns of the matched route.
type Route struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	Protocols    []string `json:"protocols"`
	Methods      []string `json:"methods"`
	Hosts        []string `json:"hosts"`
	Paths        []string `json:"paths"`
	StripPath    bool     `json:"strip_path"`
	PreserveHost bool     `json:"preserve_host"`
	ServiceID    string   `json:"service"`
	Tags         []string `json:"tags"`
}

// Service is what kong.router.get_service returns of the matched service.
type Service struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Protocol string   `json:"protocol"`
	Host     string   `json:"host"`
	Port     int      `json:"port"`
	Path     string   `json:"path"`
	Tags     []string `json:"tags"`
}

// Upstream is the request that goes to the service.
type Upstream struct {
	Scheme   string
	Address  string // host:port to connect to
	Host     string // of the Host header
	Method   string
	Path     string
	RawQuery string
	Header   []Header
	Body     []byte // as a plugin has set it; nil is the client's own
}

// Values returns the values of all lines of that name, in order and without
// regard to case.
func (u *Upstream) Values(name string) []string { return values(u.Header, name) }

func values(lines []Header, name string) []string {
	var out []string
	for _, h := range lines {
		if strings.EqualFold(h.Name, name) {
			out = append(out, h.Value)
		}
	}
	return out
}

// Values returns the values of all lines of that name, in order and without
// regard to case.
func (r *Request) Values(name string) []string { return values(r.Header, name) }

// Path returns the path as it was sent, without the query string.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.URI, "?")
	return path
}

// withDefaults is a copy in which every zero field has its default.
func (r *Request) withDefaults() *Request {
	c := *r
	c.Method = cmp.Or(c.Method, "GET")
	c.Scheme = cmp.Or(c.Scheme, "http")
	if c.Host == "" {
		for _, h := range values(c.Header, "host") {
			c.Host = nginx.HostOnly(h)
		}
	}
	c.Host = cmp.Or(c.Host, "localhost")
	c.Port = cmp.Or(c.Port, 8000)
	c.URI = cmp.Or(c.URI, "/")
	c.HTTPVersion = cmp.Or(c.HTTPVersion, 1.1)
	c.BodyBuffer = cmp.Or(c.BodyBuffer, 8<<10)
	c.Client = cmp.Or(c.Client, netip.MustParseAddrPort("127.0.0.1:40000"))
	c.Forwarded = cmp.Or(c.Forwarded, c.Client)
	if c.Consumers == nil {
		c.Consumers = ConsumerList(nil)
	}
	if c.Vars["kong_request_id"] == "" {
		vars := map[string]string{"kong_request_id": nginx.RequestID()}
		for k, v := range c.Vars {
			vars[k] = v
		}
		c.Vars = vars
	}
	if c.Upstream == nil {
		path, query, _ := strings.Cut(c.URI, "?")
		c.Upstream = &Upstream{Scheme: c.Scheme, Host: c.Host, Method: c.Method, Path: path, RawQuery: query, Header: c.Header}
	}
	return &c
}
