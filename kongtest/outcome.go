package kongtest

import (
	"maps"
	"slices"
	"time"
)

// Outcome is what an event came to, and everything that the plugin did in it.
type Outcome struct {
	// Exit is the plugin's own answer to the client; nil if the request is to
	// be proxied.
	Exit *Exit

	// Consumer and Credential are who the request is authenticated as.
	Consumer   *Consumer
	Credential *Credential

	Upstream       Upstream       // the request that would go to the service
	ResponseHeader []Header       // set with kong.response.set_header and its kin
	Serialize      map[string]any // kong.log.set_serialize_value, by key; nil takes the key out
	Serialized     string         // what kong.log.serialize then gives log plugins; of a Client only
	Log            []LogLine      // kong.log.*
	Calls          []string       // names of the PDK methods, in order

	// Waits counts how often Kong had to wait for the plugin: the reads that
	// found no complete frame in the buffer, and were the first since Kong had
	// last sent something. The call that starts the event is followed by one
	// wait; so an event that asks for the headers and then writes two calls
	// without a result, its end and its return together costs 2, and one that
	// waits for the reply of each of its three calls costs 4.
	Waits int
}

// Exit is an answer given with kong.response.exit, or by Kong on an error.
type Exit struct {
	Status int
	Header []Header
	Body   []byte
}

// Values returns the values of all header lines of that name.
func (e *Exit) Values(name string) []string { return values(e.Header, name) }

// LogLine is one line of Kong's error log.
type LogLine struct {
	Level string // nginx's words: alert, crit, error, warn, notice, info, debug
	Text  string
}

// exchange is one request on its way through Kong: nginx's variables and
// ngx.ctx. Plugins run on it one after the other.
type exchange struct {
	req     *Request
	body    *body
	started time.Time

	consumer   map[string]any // as the Lua table that Kong keeps
	credential map[string]any
	up         Upstream
	respHeader []Header
	respStatus int
	shared     map[string]any // kong.ctx.shared
	ctx        map[string]any // ngx.ctx
	serialize  map[string]any
	log        []LogLine
	calls      []string
	waits      int
	exit       *Exit

	plugin string        // whose turn it is, in a gateway
	emit   func(LogLine) // where the error log is, in a gateway
}

func newExchange(r *Request) *exchange {
	r = r.withDefaults()
	x := &exchange{
		req:     r,
		started: time.Now(),
		body:    &body{r: r.Body, limit: r.BodyBuffer, dir: r.TempDir},
		up:      *r.Upstream,
		shared:  map[string]any{},
		ctx:     map[string]any{},
	}
	x.up.Header = slices.Clone(x.up.Header)
	maps.Copy(x.ctx, r.Context)
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

// say writes a line to the error log, in the name of the plugin whose turn it
// is.
func (x *exchange) say(level, text string) {
	if x.plugin != "" {
		text = "[" + x.plugin + "] " + text
	}
	line := LogLine{level, text}
	if len(x.log) < maxRequestLines {
		x.log = append(x.log, line)
	}
	if x.emit != nil {
		x.emit(line)
	}
}

// maxRequestLines bounds what is kept of a request whose event is run without
// end.
const maxRequestLines = 1000

func (x *exchange) outcome() Outcome {
	o := Outcome{
		Exit: x.exit, Upstream: x.up, ResponseHeader: x.respHeader, Serialize: x.serialize,
		Log: x.log, Calls: x.calls, Waits: x.waits,
	}
	if x.consumer != nil {
		o.Consumer = consumerOf(x.consumer)
	}
	if x.credential != nil {
		o.Credential = &Credential{ID: text(x.credential["id"]), ConsumerID: text(x.credential["consumer_id"])}
	}
	return o
}

func (c *Consumer) table() map[string]any {
	t := map[string]any{"id": c.ID, "created_at": float64(c.CreatedAt)}
	if c.Username != "" {
		t["username"] = c.Username
	}
	if c.CustomID != "" {
		t["custom_id"] = c.CustomID
	}
	if len(c.Tags) > 0 {
		t["tags"] = array(c.Tags)
	}
	return t
}

func consumerOf(t map[string]any) *Consumer {
	c := &Consumer{ID: text(t["id"]), Username: text(t["username"]), CustomID: text(t["custom_id"])}
	if at, ok := t["created_at"].(float64); ok {
		c.CreatedAt = int64(at)
	}
	tags, _ := t["tags"].([]any)
	for _, tag := range tags {
		c.Tags = append(c.Tags, text(tag))
	}
	return c
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func array(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}
