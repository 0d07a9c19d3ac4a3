package kongtest

import (
	"kong-vault-auth/kongtest/internal/lua"
)

// Outcome is the result of an event, and everything that the plugin did in it.
type Outcome struct {
	// Exit is the plugin's own answer to the client; nil if the request is to
	// be proxied.
	Exit *Exit

	// Consumer and Credential are who the request is authenticated as.
	Consumer   *Consumer
	Credential *Credential

	Shared  map[string]any // what kong.ctx.shared has, for the plugins that follow
	Context map[string]any // what ngx.ctx has of the Request's Context

	Upstream       Upstream       // the request that would go to the service
	ResponseHeader []Header       // set with kong.response.set_header and its kin
	Serialize      map[string]any // kong.log.set_serialize_value, by key; nil removes the key
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

func (c *Consumer) table() map[string]any {
	t := map[string]any{"id": c.ID, "created_at": float64(c.CreatedAt)}
	if c.Username != "" {
		t["username"] = c.Username
	}
	if c.CustomID != "" {
		t["custom_id"] = c.CustomID
	}
	if len(c.Tags) > 0 {
		t["tags"] = lua.Array(c.Tags)
	}
	return t
}

func consumerOf(t map[string]any) *Consumer {
	c := &Consumer{ID: lua.Text(t["id"]), Username: lua.Text(t["username"]), CustomID: lua.Text(t["custom_id"])}
	if at, ok := t["created_at"].(float64); ok {
		c.CreatedAt = int64(at)
	}
	tags, _ := t["tags"].([]any)
	for _, tag := range tags {
		c.Tags = append(c.Tags, lua.Text(tag))
	}
	return c
}
