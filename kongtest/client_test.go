package kongtest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var anna = Consumer{ID: "11111111-1111-4111-8111-111111111111", CreatedAt: 1700000000, Username: "anna", Tags: []string{"a", "b"}}

func TestPluginOnGoPDKAuthenticates(t *testing.T) {
	c := startPlugin(t, "pdkplugin")
	id, err := c.StartInstance("pdkplugin", []byte(`{"header":"x-user","secret":"caf\u00e9","__seq__":1}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.HandleEvent(id, "access", &Request{
		URI:       "/a?b=c",
		Header:    []Header{{"Host", "example.com:80"}, {"X-User", "anna"}, {"Accept", "*/*"}},
		Consumers: ConsumerList{anna},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Outcome{
		Consumer:   &anna,
		Credential: &Credential{ID: "cred", ConsumerID: anna.ID},
		Upstream: Upstream{
			Scheme: "http", Host: "example.com", Method: "GET", Path: "/a", RawQuery: "b=c",
			Header: []Header{{"Host", "example.com:80"}, {"Accept", "*/*"}, {"X-Consumer-Username", "anna"}, {"X-Secret", "café"}},
		},
		Calls: []string{"kong.request.get_headers", "kong.client.load_consumer", "kong.client.authenticate", "kong.service.request.set_headers"},
		Waits: 5,
	}
	sortHeaders(got.Upstream.Header[2:]) // set_headers is a Lua table: no order
	if want := `"authenticated_entity":{"id":"cred"}`; !strings.Contains(got.Serialized, want) {
		t.Errorf("log plugins get %s, without %s", got.Serialized, want)
	}
	got.Serialized = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPluginOnGoPDKExits(t *testing.T) {
	c := startPlugin(t, "pdkplugin")
	id, err := c.StartInstance("pdkplugin", []byte(`{"header":"x-user"}`))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // each on a connection of its own
		got, err := c.HandleEvent(id, "access", &Request{})
		if err != nil {
			t.Fatal(err)
		}
		want := &Exit{401, []Header{{"WWW-Authenticate", "Test"}, {"Content-Length", "4"}}, []byte("who?")}
		if diff := cmp.Diff(want, got.Exit); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]LogLine{{"warn", "no x-user"}}, got.Log); diff != "" {
			t.Error(diff)
		}
	}
}

func TestEventsOfPluginsThatMisbehave(t *testing.T) {
	c := startPlugin(t, "wireplugin")
	tests := []struct {
		mode    string
		exit    int
		waits   int
		raised  bool   // a LuaError
		message string // part of the error's
		retried bool
	}{
		{mode: "pass", waits: 2},
		{mode: "pipeline", waits: 2},
		{mode: "exit", exit: 403, waits: 2},
		{mode: "close", waits: 2, message: "closed", retried: true},
		{mode: "unknown-method", waits: 2, message: `method "kong.plugin.explode" not found`},
		{mode: "bad-argument", waits: 2, raised: true, message: "invalid protobuf"},
		{mode: "raise", waits: 2, raised: true, message: "cannot load a consumer with an id that is not a uuid"},
		{mode: "garbage", waits: 2, message: `method "\x01\x02\x03\x04" not found`},
		{mode: "wrong-sequence", waits: 2, raised: true, message: "assertion failed"},
	}
	for _, test := range tests {
		t.Run(test.mode, func(t *testing.T) {
			id, err := c.StartInstance("wireplugin", []byte(`{"mode":"`+test.mode+`"}`))
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.HandleEvent(id, "access", &Request{})
			var luaErr *LuaError
			var callErr *CallError
			if errors.As(err, &luaErr) != test.raised || errors.As(err, &callErr) && callErr.Retried() != test.retried {
				t.Errorf("error %#v", err)
			}
			if test.message == "" && err != nil || err != nil && !strings.Contains(err.Error(), test.message) {
				t.Errorf("error %v, want %q", err, test.message)
			}
			if status := exitStatus(got); status != test.exit {
				t.Errorf("exit %d, want %d", status, test.exit)
			}
			if got.Waits != test.waits {
				t.Errorf("%d waits, want %d", got.Waits, test.waits)
			}
		})
	}
}

func exitStatus(o Outcome) int {
	if o.Exit == nil {
		return 0
	}
	return o.Exit.Status
}

func sortHeaders(h []Header) {
	for i := range h {
		for j := range i {
			if h[i].Name < h[j].Name {
				h[i], h[j] = h[j], h[i]
			}
		}
	}
}

// Whatever a plugin server writes in an event, it ends, and with an error
// unless the bytes are those of a proper one.
func FuzzPluginBytes(f *testing.F) {
	frame := func(parts ...string) (b []byte) {
		for _, p := range parts {
			b = append(binary.LittleEndian.AppendUint32(b, uint32(len(p))), p...)
		}
		return b
	}
	f.Add(frame("", "\x08\x01"))
	f.Add(frame("kong.request.get_headers", "\x08\x64", "", "\x08\x01"))
	f.Add(frame("kong.response.exit", "\x08\x91\x03\x12\x02no"))
	f.Add(frame("kong.log.err", "\x0a\x03\x1a\x01\xff"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	dir, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	f.Fuzz(func(t *testing.T, reply []byte) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.Write(reply)
			c.(*net.UnixConn).CloseWrite()
			io.Copy(io.Discard, c)
		}()
		c := NewClient(l.Addr().String())
		c.Timeout = 5 * time.Second
		out, err := c.HandleEvent(1, "access", &Request{Header: []Header{{"a", "\xff"}}})
		c.Close()
		<-done
		var callErr *CallError
		var luaErr *LuaError
		if err != nil && !errors.As(err, &callErr) && !errors.As(err, &luaErr) {
			t.Errorf("%T: %v", err, err)
		}
		if err == nil && out.Exit == nil && len(reply) < 8 {
			t.Errorf("%q is a proper end of an event", reply)
		}
	})
}
