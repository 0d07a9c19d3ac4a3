package pluginserver

import (
	"bytes"
	"cmp"

	"google.golang.org/protobuf/encoding/protowire"
)

// Reply is a reply that is still to come. PDK functions that are called together cost one
// wait on the socket.
type Reply[T any] struct {
	event  *Event
	call   int
	decode func(*Event, []byte) (T, error)
}

// Wait writes the calls that are queued, if this is one of them, and returns the
// reply once it is there. An error means that the event can't go on: its time is
// up, Kong has gone, or the reply is too large or can't be decoded.
func (r Reply[T]) Wait() (T, error) {
	reply, err := r.event.reply(r.call)
	if err != nil {
		var none T
		return none, err
	}
	return r.decode(r.event, reply)
}

func ask[T any](e *Event, method string, arg []byte, decode func(*Event, []byte) (T, error)) Reply[T] {
	return Reply[T]{e, e.queue(method, arg), decode}
}

// Field is one value of a header. Kong gives the name in lower case. Both are bytes that the
// client sent, and valid until the event ends.
type Field struct{ Name, Value []byte }

// GetHeaders is kong.request.get_headers: the headers of the request, one Field
// for each value. Kong returns no more than limit, which is 1,000 at most, and doesn't say
// whether there are more.
func (e *Event) GetHeaders(limit int) Reply[[]Field] {
	e.arg = protowire.AppendVarint(protowire.AppendTag(e.arg[:0], 1, protowire.VarintType), uint64(limit))
	return ask(e, "kong.request.get_headers", e.arg, decodeHeaders)
}

// GetRawQuery is kong.request.get_raw_query: the query string as it was sent,
// without the question mark.
func (e *Event) GetRawQuery() Reply[string] {
	return ask(e, "kong.request.get_raw_query", nil, decodeText)
}

// GetMethod is kong.request.get_method.
func (e *Event) GetMethod() Reply[string] {
	return ask(e, "kong.request.get_method", nil, decodeText)
}

// GetVar is kong.nginx.get_var: the value of an nginx variable.
func (e *Event) GetVar(name string) Reply[string] {
	e.arg = appendText(e.arg[:0], name)
	return ask(e, "kong.nginx.get_var", e.arg, decodeText)
}

// GetForwardedIP is kong.client.get_forwarded_ip: the client's address, from
// behind the proxies that Kong trusts.
func (e *Event) GetForwardedIP() Reply[string] {
	return ask(e, "kong.client.get_forwarded_ip", nil, decodeText)
}

// GetCtx is kong.nginx.get_ctx: the strings in a field of ngx.ctx, which may hold one, a
// list, or a table with strings in its fields.
func (e *Event) GetCtx(name string) Reply[[]string] {
	e.arg = appendText(e.arg[:0], name)
	return ask(e, "kong.nginx.get_ctx", e.arg, decodeStrings)
}

// ClearCtx is kong.nginx.set_ctx without a value.
func (e *Event) ClearCtx(name string) { e.tellText("kong.nginx.set_ctx", name) }

// SetShared is kong.ctx.shared.set with a list of strings: other plugins see it in
// kong.ctx.shared.
func (e *Event) SetShared(key string, list []string) {
	e.part = e.part[:0]
	for _, s := range list {
		e.part = protowire.AppendTag(e.part, 1, protowire.BytesType) // ListValue.values
		e.part = protowire.AppendVarint(e.part, uint64(sizeOf(len(s))))
		e.part = appendPart(e.part, 3, s) // Value.string_value
	}
	e.arg = appendText(e.arg[:0], key)
	e.arg = protowire.AppendTag(e.arg, 2, protowire.BytesType) // KV.v
	e.arg = protowire.AppendVarint(e.arg, uint64(sizeOf(len(e.part))))
	e.arg = appendPart(e.arg, 6, e.part) // Value.list_value
	e.queue("kong.ctx.shared.set", e.arg)
}

// ClearShared is kong.ctx.shared.set without a value.
func (e *Event) ClearShared(key string) { e.tellText("kong.ctx.shared.set", key) }

// RawBody is the body of a request. Both fields are empty if there is none.
type RawBody struct {
	Content []byte // valid until the event ends
	File    string // where nginx has put a body that was too large for its buffer
}

// GetRawBody is kong.request.get_raw_body. Its reply comes when the client has
// sent the whole body.
func (e *Event) GetRawBody() Reply[RawBody] {
	return ask(e, "kong.request.get_raw_body", nil, decodeRawBody)
}

// Consumer is one of Kong's consumers. It is valid beyond the event.
type Consumer struct {
	ID, Username, CustomID string

	rest []byte // the other fields, as Kong sent them: tags and created_at serve its logs
}

// Credential is the credential that a request was authenticated with, as Kong knows it.
type Credential struct{ ID, ConsumerID string }

// GetConsumer is kong.client.get_consumer: the consumer that another plugin has
// authenticated, or nil.
func (e *Event) GetConsumer() Reply[*Consumer] {
	return ask(e, "kong.client.get_consumer", nil, decodeConsumer)
}

// GetCredential is kong.client.get_credential: the credential that another plugin has
// authenticated, or nil.
func (e *Event) GetCredential() Reply[*Credential] {
	return ask(e, "kong.client.get_credential", nil, decodeCredential)
}

// LoadConsumer is kong.client.load_consumer, and waits for its reply. It returns
// nil if there is no such consumer, and also if Kong can't read its database: Kong's reply
// is the same. Without byUsername Kong raises an error for a name that isn't a UUID; with
// it, Kong tries the name as an id first.
func (e *Event) LoadConsumer(name string, byUsername bool) (*Consumer, error) {
	e.arg = appendText(e.arg[:0], name)
	if byUsername {
		e.arg = protowire.AppendVarint(protowire.AppendTag(e.arg, 2, protowire.VarintType), 1)
	}
	c, err := ask(e, "kong.client.load_consumer", e.arg, decodeConsumer).Wait()
	if err != nil || c == nil || c.ID == "" {
		return nil, err
	}
	return c, nil
}

// Authenticate is kong.client.authenticate: it tells Kong who is calling, and with which
// credential. A nil credential means that the consumer is the anonymous one. An empty
// Credential would not: Kong takes such a request for authenticated.
func (e *Event) Authenticate(consumer *Consumer, credential *Credential) {
	e.part = consumer.append(e.part[:0])
	e.arg = appendPart(e.arg[:0], 1, e.part)
	if credential != nil {
		e.part = appendPart(appendPart(e.part[:0], 1, credential.ID), 2, credential.ConsumerID)
		e.arg = appendPart(e.arg, 2, e.part)
	}
	e.queue("kong.client.authenticate", e.arg)
}

// HeaderChange replaces all headers of a name for the upstream, or removes them if the value
// is empty.
type HeaderChange struct{ Name, Value string }

// SetHeaders is kong.service.request.set_headers. Without changes it makes no call.
func (e *Event) SetHeaders(changes []HeaderChange) {
	if len(changes) == 0 {
		return
	}
	e.arg = e.arg[:0]
	for _, c := range changes {
		e.arg = appendHeader(e.arg, c.Name, c.Value)
	}
	e.queue("kong.service.request.set_headers", e.arg)
}

// SetRawQuery is kong.service.request.set_raw_query.
func (e *Event) SetRawQuery(query string) { e.tellText("kong.service.request.set_raw_query", query) }

// SetRawBody is kong.service.request.set_raw_body.
func (e *Event) SetRawBody(body []byte) {
	e.arg = appendText(e.arg[:0], body)
	e.queue("kong.service.request.set_raw_body", e.arg)
}

// SetSerializeValue is kong.log.set_serialize_value: it replaces what log plugins
// see under a key such as "request.uri".
func (e *Event) SetSerializeValue(key, value string) {
	e.part = appendPart(e.part[:0], 3, value) // Value.string_value
	e.arg = appendPart(appendText(e.arg[:0], key), 2, e.part)
	e.queue("kong.log.set_serialize_value", e.arg)
}

// ClearSerializeValue is kong.log.set_serialize_value without a value: log
// plugins see nothing under the key.
func (e *Event) ClearSerializeValue(key string) { e.tellText("kong.log.set_serialize_value", key) }

// tellText calls a function without a result whose argument is one string. Further fields
// of the argument are left out.
func (e *Event) tellText(method, text string) {
	e.arg = appendText(e.arg[:0], text)
	e.queue(method, e.arg)
}

func decodeText(_ *Event, reply []byte) (string, error) {
	text, err := lastPart(reply, 1)
	return string(text), err
}

func decodeStrings(_ *Event, reply []byte) ([]string, error) { return valueStrings(reply) }

// decodeHeaders puts the fields into a slice that the connection's next event reuses.
func decodeHeaders(e *Event, reply []byte) ([]Field, error) {
	start := len(e.fields)
	fields, err := appendFields(e.fields, reply)
	if err != nil {
		return nil, err
	}
	e.fields = fields
	return e.fields[start:len(e.fields):len(e.fields)], nil
}

func decodeRawBody(_ *Event, reply []byte) (RawBody, error) {
	content, err := lastPart(reply, 1)
	file, fileErr := lastPart(reply, 2)
	return RawBody{content, string(file)}, cmp.Or(err, fileErr)
}

// The fields of Kong's Consumer message that Consumer has fields for.
const (
	consumerID       = 1
	consumerUsername = 3
	consumerCustomID = 4
)

func decodeConsumer(_ *Event, reply []byte) (*Consumer, error) {
	if len(reply) == 0 {
		return nil, nil
	}
	c := &Consumer{}
	for len(reply) > 0 {
		number, kind, size := protowire.ConsumeField(reply)
		if size < 0 {
			return nil, errUndecodable
		}
		field := reply[:size]
		reply = reply[size:]
		into := c.named(number)
		if into == nil || kind != protowire.BytesType {
			c.rest = append(c.rest, field...)
			continue
		}
		text, err := lastPart(field, number)
		if err != nil {
			return nil, err
		}
		*into = string(text)
	}
	c.rest = bytes.Clone(c.rest) // without room to grow: consumers are remembered
	return c, nil
}

func (c *Consumer) named(number protowire.Number) *string {
	switch number {
	case consumerID:
		return &c.ID
	case consumerUsername:
		return &c.Username
	case consumerCustomID:
		return &c.CustomID
	}
	return nil
}

func (c *Consumer) append(buf []byte) []byte {
	for _, number := range [...]protowire.Number{consumerID, consumerUsername, consumerCustomID} {
		if text := *c.named(number); text != "" {
			buf = appendPart(buf, number, text)
		}
	}
	return append(buf, c.rest...)
}

func decodeCredential(_ *Event, reply []byte) (*Credential, error) {
	if len(reply) == 0 {
		return nil, nil
	}
	id, err := lastPart(reply, 1)
	consumer, consumerErr := lastPart(reply, 2)
	if err = cmp.Or(err, consumerErr); err != nil {
		return nil, err
	}
	return &Credential{string(id), string(consumer)}, nil
}
