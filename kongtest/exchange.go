package kongtest

import (
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"kong-vault-auth/kongtest/internal/lua"
)

// Exchange is one request on its way through Kong: nginx's variables and
// ngx.ctx. Plugins run on it one after the other, see Client.RunEvent; a
// gateway reads and sets in between what Kong itself does.
type Exchange struct {
	Request        *Request // with the defaults filled in
	Started        time.Time
	Upstream       Upstream // the request that goes to the service, as plugins have changed it
	ResponseHeader []Header // to be added to the answer
	ResponseStatus int      // to replace that of the answer; 0 doesn't
	Exit           *Exit    // the answer of a plugin or of Kong; nil if the request is to be proxied

	Plugin string        // the plugin that runs: the error log names it
	OnLog  func(LogLine) // gets each line of the error log as it is written; may be nil

	body       *body
	consumer   map[string]any // as the Lua table that Kong keeps
	credential map[string]any
	shared     map[string]any // kong.ctx.shared
	ctx        map[string]any // ngx.ctx
	serialize  map[string]any
	log        []LogLine
	calls      []string
	waits      int
}

// NewExchange returns the exchange of a request that no plugin has seen. Close
// it at the end of the request.
func NewExchange(r *Request) *Exchange {
	r = r.withDefaults()
	x := &Exchange{
		Request:  r,
		Started:  time.Now(),
		Upstream: *r.Upstream,
		body:     &body{r: r.Body, limit: r.BodyBuffer, dir: r.TempDir},
		shared:   map[string]any{},
		ctx:      map[string]any{},
	}
	x.Upstream.Header = slices.Clone(x.Upstream.Header)
	maps.Copy(x.ctx, r.Context)
	maps.Copy(x.shared, r.Shared)
	x.ctx[cachedHeaders] = x.headerCache()
	if r.Consumer != nil {
		x.consumer = r.Consumer.table()
	}
	if r.Credential != nil {
		x.credential = map[string]any{}
		if r.Credential.ID != "" {
			x.credential["id"] = r.Credential.ID
		}
		if r.Credential.ConsumerID != "" {
			x.credential["consumer_id"] = r.Credential.ConsumerID
		}
		maps.Copy(x.credential, r.Credential.More)
	}
	return x
}

// Close removes the file that may hold the body.
func (x *Exchange) Close() { x.body.remove() }

// Body reads the client's body to its end, unless that was done before, and
// returns what goes to the service: the body that a plugin has set, or the
// client's. Without a body it is nil; an empty one is not.
func (x *Exchange) Body() ([]byte, error) {
	if err := x.body.load(); err != nil {
		return nil, err
	}
	if x.Upstream.Body != nil {
		return x.Upstream.Body, nil
	}
	return x.body.content, nil
}

// CachedHeaders returns the request's headers as Kong's own code sees them:
// those from before any plugin ran, unless a plugin has removed the cached
// ones from ngx.ctx.
func (x *Exchange) CachedHeaders() map[string]any {
	if cached, ok := x.ctx[cachedHeaders].(map[string]any); ok {
		return cached
	}
	return x.headerCache()
}

// Log writes a line to the error log.
func (x *Exchange) Log(level, text string) {
	if x.Plugin != "" {
		text = "[" + x.Plugin + "] " + text
	}
	line := LogLine{level, text}
	if len(x.log) < maxRequestLines {
		x.log = append(x.log, line)
	}
	if x.OnLog != nil {
		x.OnLog(line)
	}
}

// maxRequestLines limits what is kept of a request whose event runs again and
// again.
const maxRequestLines = 1000

// Outcome returns what the plugins have done so far.
func (x *Exchange) Outcome() Outcome {
	o := Outcome{
		Exit: x.Exit, Upstream: x.Upstream, ResponseHeader: x.ResponseHeader, Serialize: x.serialize,
		Log: x.log, Calls: x.calls, Waits: x.waits,
	}
	if len(x.shared) > 0 {
		o.Shared = maps.Clone(x.shared)
	}
	if len(x.Request.Context) > 0 {
		o.Context = maps.Clone(x.ctx)
		maps.DeleteFunc(o.Context, func(key string, v any) bool { return v == nil || x.Request.Context[key] == nil })
	}
	if x.consumer != nil {
		o.Consumer = consumerOf(x.consumer)
	}
	if x.credential != nil {
		o.Credential = &Credential{ID: lua.Text(x.credential["id"]), ConsumerID: lua.Text(x.credential["consumer_id"])}
	}
	return o
}

// body is a request's body, which nginx reads whole the first time that
// it is needed: into memory, or into a file when it is larger than
// client_body_buffer_size.
type body struct {
	r     io.Reader
	limit int
	dir   string

	read    bool
	err     error
	content []byte
	file    string // path of the file that holds the body instead of content
}

func (b *body) load() error {
	if b.read || b.r == nil {
		return b.err
	}
	b.read = true
	b.content, b.err = io.ReadAll(b.r)
	// nginx takes a quarter more than the size where the length is known.
	if b.err != nil || len(b.content) <= b.limit+b.limit/4 {
		return b.err
	}
	f, err := os.CreateTemp(b.dir, "client_body_*")
	if err != nil {
		b.err = err
		return err
	}
	b.file = f.Name()
	_, b.err = f.Write(b.content)
	if err := f.Close(); b.err == nil {
		b.err = err
	}
	return b.err
}

// remove takes the file away, at the end of the request.
func (b *body) remove() {
	if b.file != "" {
		os.Remove(b.file)
	}
}
