package pluginserver

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// exitPatience is how long Kong may take to reply while an event ends in an exit. After that
// the connection is closed.
const exitPatience = 5 * time.Second

// exit ends the event with an answer to the client, and closes the connection: nobody would
// read what Kong sends after kong.response.exit. All replies still to come are read first,
// since Kong must be able to write them: otherwise the client's answer becomes a 500.
func (e *Event) exit(v Verdict) error {
	defer e.c.nc.Close()
	if !v.calls {
		e.dropQueued()
	}
	if err := e.c.nc.SetReadDeadline(time.Now().Add(exitPatience)); err != nil {
		return err
	}
	if err := e.drain(); err != nil {
		return err
	}
	e.tellLog()
	id, contentType, err := e.askForExit()
	if err != nil {
		return err
	}
	arg, err := proto.Marshal(exitArgs(v, id, contentType))
	if err != nil {
		return err
	}
	e.out = appendFrame(e.out[:0], "kong.response.exit")
	e.out = appendFrame(e.out, arg)
	return e.flush()
}

// dropQueued drops the calls that have not been written.
func (e *Event) dropQueued() {
	e.out = e.out[:0]
	e.calls = e.calls[:e.sent]
}

// askForExit asks Kong for what an answer to the client needs. A reply that can't be read
// counts as empty.
func (e *Event) askForExit() (id, contentType string, err error) {
	calls := [...]int{
		e.append("kong.nginx.get_var", appendText(nil, "kong_request_id")),
		e.append("kong.request.get_header", appendText(nil, "content-type")),
	}
	for i, into := range []*string{&id, &contentType} {
		reply, err := e.read(calls[i])
		if err != nil {
			return "", "", err
		}
		*into, _ = decodeText(e, reply)
	}
	return id, contentType, nil
}

func exitArgs(v Verdict, id, contentType string) *kong_plugin_protocol.ExitArgs {
	header := map[string]string{}
	for name, value := range v.header {
		header[name] = value
	}
	args := &kong_plugin_protocol.ExitArgs{Status: int32(v.status)}
	if IsGRPC(contentType) {
		// Without a Content-Type Kong turns it into grpc-status and grpc-message.
		args.Body = []byte(v.message)
	} else {
		header["Content-Type"] = "application/json; charset=utf-8"
		body := struct {
			Message   string `json:"message"`
			RequestID string `json:"request_id,omitempty"`
		}{v.message, id}
		args.Body, _ = json.Marshal(body) // two strings: it can't fail
	}
	args.Headers = structOf(header)
	return args
}

// IsGRPC reports whether a request with that Content-Type is gRPC, by the rule that Kong
// uses for its answers.
func IsGRPC(contentType string) bool {
	return strings.HasPrefix(strings.ToLower(contentType), "application/grpc")
}

// faultVerdict is the answer after a reply of Kong's that couldn't be used.
func faultVerdict(err error) Verdict {
	if errors.Is(err, errFrameTooLarge) {
		return Exit(http.StatusRequestEntityTooLarge, "Request body too large", nil)
	}
	return Fault()
}

// RetryAfter is the Retry-After header for d, in whole seconds, at least one.
func RetryAfter(d time.Duration) Header {
	seconds := max(1, int64((d+time.Second-1)/time.Second))
	return Header{"Retry-After": strconv.FormatInt(seconds, 10)}
}
