package pluginserver_test

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
)

// access is a handler that is one function.
type access func(*pluginserver.Event) pluginserver.Verdict

func (f access) Access(e *pluginserver.Event) pluginserver.Verdict { return f(e) }
func (access) Close()                                              {}

func serve(t *testing.T, h access, o pluginserver.Options) *servertest.Instance {
	t.Helper()
	return serveStart(t, func([]byte) (pluginserver.Handler, error) { return h, nil }, o)
}

func serveStart(t *testing.T, start func([]byte) (pluginserver.Handler, error), o pluginserver.Options) *servertest.Instance {
	t.Helper()
	s := servertest.Serve(t, func(*slog.Logger) pluginserver.Plugin { return pluginserver.Plugin{Start: start} }, o)
	return s.Start(t, "{}")
}

func TestEventEndsOnlyOnAVerdict(t *testing.T) {
	block := make(chan struct{})
	t.Cleanup(func() { close(block) })
	const internal = `{"message":"An unexpected error occurred","request_id":"` + servertest.RequestID + `"}`
	for name, tc := range map[string]struct {
		handler access
		status  int // 0: passed
		body    string
		log     string
	}{
		"pass":       {handler: func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }},
		"exit":       {handler: func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Exit(401, "no", nil) }, status: 401, body: `{"message":"no","request_id":"` + servertest.RequestID + `"}`},
		"no verdict": {handler: func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Verdict{} }, status: 500, body: internal, log: "no verdict"},
		"panic":      {handler: func(*pluginserver.Event) pluginserver.Verdict { panic("secret") }, status: 500, body: internal, log: "panicked reason=string"},
		"panic after calls": {handler: func(e *pluginserver.Event) pluginserver.Verdict {
			e.SetRawQuery("x")
			method, err := e.GetMethod().Wait()
			if err != nil {
				t.Error(err)
			}
			e.SetRawQuery("y")
			return pluginserver.Exit([]int{401}[len(method)], "", nil)
		}, status: 500, body: internal, log: "out of range"},
		"deadline": {handler: func(*pluginserver.Event) pluginserver.Verdict {
			<-block
			return pluginserver.Pass()
		}, status: 500, body: internal, log: "took too long"},
		"deadline seen by the handler": {handler: func(e *pluginserver.Event) pluginserver.Verdict {
			<-e.Context().Done()
			if _, err := e.GetMethod().Wait(); err == nil {
				t.Error("a reply after the deadline")
			}
			return pluginserver.Pass()
		}, status: 500, body: internal, log: "took too long"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.handler, pluginserver.Options{EventTimeout: 100 * time.Millisecond, Grace: 100 * time.Millisecond})
			out := s.Access(t, &kongtest.Request{})
			status, body := 0, ""
			if out.Exit != nil {
				status, body = out.Exit.Status, string(out.Exit.Body)
			}
			if status != tc.status || body != tc.body {
				t.Errorf("got %d %s, want %d %s", status, body, tc.status, tc.body)
			}
			if !strings.Contains(s.Server.Stderr.String(), tc.log) || strings.Contains(s.Server.Stderr.String(), "panicked reason=secret") {
				t.Errorf("log: %s", s.Server.Stderr)
			}
		})
	}
}

func TestExitForGRPCHasNoContentType(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict {
		return pluginserver.Exit(401, "Unauthorized", pluginserver.Header{"WWW-Authenticate": "VaultAuth"})
	}, pluginserver.Options{})
	out := s.Access(t, &kongtest.Request{Header: []kongtest.Header{{Name: "Content-Type", Value: "application/grpc+proto"}}, HTTPVersion: 2})
	if got := out.Exit.Values("Content-Type"); got != nil {
		t.Errorf("Content-Type %q", got)
	}
	if got := out.Exit.Values("grpc-message"); !slices.Equal(got, []string{"Unauthorized"}) {
		t.Errorf("grpc-message %q", got)
	}
	if got := out.Exit.Values("WWW-Authenticate"); !slices.Equal(got, []string{"VaultAuth"}) {
		t.Errorf("WWW-Authenticate %q", got)
	}
}

func TestCallsWithoutAResultAreNotWaitedFor(t *testing.T) {
	s := serve(t, func(e *pluginserver.Event) pluginserver.Verdict {
		headers, query := e.GetHeaders(1000), e.GetRawQuery()
		if q, err := query.Wait(); err != nil || q != "a=1" { // in any order
			t.Errorf("query %q, %v", q, err)
		}
		e.Authenticate(&pluginserver.Consumer{ID: "c", Username: "alice"}, &pluginserver.Credential{ID: "x", ConsumerID: "c"})
		if fields, err := headers.Wait(); err != nil || len(fields) != 1 || string(fields[0].Name) != "x-b" || string(fields[0].Value) != "b" {
			t.Errorf("headers %q, %v", fields, err)
		}
		e.SetHeaders([]pluginserver.HeaderChange{{Name: "X-A", Value: "1"}, {Name: "X-B"}})
		return pluginserver.Pass()
	}, pluginserver.Options{})
	for range 3 { // the connection is used again
		out := s.Access(t, &kongtest.Request{URI: "/?a=1", Header: []kongtest.Header{{Name: "X-B", Value: "b"}}})
		want := []string{"kong.request.get_headers", "kong.request.get_raw_query", "kong.client.authenticate", "kong.service.request.set_headers"}
		if diff := cmp.Diff(want, out.Calls); diff != "" {
			t.Error(diff)
		}
		if out.Waits != 2 {
			t.Errorf("%d waits, want 2", out.Waits)
		}
		if out.Consumer == nil || out.Consumer.Username != "alice" {
			t.Errorf("consumer %v", out.Consumer)
		}
		if diff := cmp.Diff([]kongtest.Header{{Name: "X-A", Value: "1"}}, out.Upstream.Header); diff != "" {
			t.Error(diff)
		}
	}
}

func TestWhatIsQueuedIsDoneBeforeAnExitOnlyIfTheVerdictSaysSo(t *testing.T) {
	queued := access(func(e *pluginserver.Event) pluginserver.Verdict {
		if _, err := e.GetMethod().Wait(); err != nil {
			t.Error(err)
		}
		e.SetHeaders([]pluginserver.HeaderChange{{Name: "X-B"}})
		e.GetRawQuery()
		return pluginserver.Exit(401, "no", nil)
	})
	gone := []string{"kong.service.request.set_headers", "kong.request.get_raw_query"}
	for name, tc := range map[string]struct {
		handler access
		status  int
		calls   []string // after get_method
	}{
		"said":     {func(e *pluginserver.Event) pluginserver.Verdict { return queued(e).WithCalls() }, 401, gone},
		"not said": {queued, 401, nil},
		"a panic": {func(e *pluginserver.Event) pluginserver.Verdict {
			queued(e)
			panic("x")
		}, 500, nil},
	} {
		t.Run(name, func(t *testing.T) {
			out := serve(t, tc.handler, pluginserver.Options{}).Access(t, &kongtest.Request{Header: []kongtest.Header{{Name: "X-B", Value: "b"}}})
			if out.Exit == nil || out.Exit.Status != tc.status || !strings.Contains(string(out.Exit.Body), servertest.RequestID) {
				t.Errorf("exit %+v", out.Exit)
			}
			want := slices.Concat([]string{"kong.request.get_method"}, tc.calls, []string{"kong.nginx.get_var", "kong.request.get_header"})
			if diff := cmp.Diff(want, slices.DeleteFunc(out.Calls, func(c string) bool {
				return c == "kong.response.exit" || strings.HasPrefix(c, "kong.log.")
			})); diff != "" {
				t.Error(diff)
			}
			if out.Waits > 3 {
				t.Errorf("%d waits: what is queued costs one of its own", out.Waits)
			}
		})
	}
}

func TestReplyOverTheLimitIs413(t *testing.T) {
	s := serve(t, func(e *pluginserver.Event) pluginserver.Verdict {
		body, method := e.GetRawBody(), e.GetMethod()
		if _, err := body.Wait(); err == nil {
			t.Error("a reply of 9 MiB was taken")
		}
		if _, err := method.Wait(); err == nil {
			t.Error("the event went on")
		}
		return pluginserver.Pass()
	}, pluginserver.Options{})
	out := s.Access(t, &kongtest.Request{Body: io.LimitReader(zeros{}, 9<<20), BodyBuffer: 10 << 20})
	if out.Exit == nil || out.Exit.Status != 413 {
		t.Errorf("exit %+v, want 413", out.Exit)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestKongsTimeIsNotTheHandlers(t *testing.T) {
	s := serve(t, func(e *pluginserver.Event) pluginserver.Verdict {
		if _, err := e.GetRawBody().Wait(); err != nil {
			t.Error(err)
		}
		return pluginserver.Pass()
	}, pluginserver.Options{EventTimeout: 50 * time.Millisecond})
	body, upload := io.Pipe()
	// A client that takes three times the handler's time.
	time.AfterFunc(150*time.Millisecond, func() { upload.Close() })
	if out := s.Access(t, &kongtest.Request{Method: "POST", Body: body}); out.Exit != nil {
		t.Errorf("exit %d", out.Exit.Status)
	}
}

func TestLogLinesRideOnTheNextEvent(t *testing.T) {
	for name, verdict := range map[string]pluginserver.Verdict{"pass": pluginserver.Pass(), "exit": pluginserver.Exit(401, "no", nil)} {
		t.Run(name, func(t *testing.T) {
			var log *slog.Logger
			s := serve(t, func(*pluginserver.Event) pluginserver.Verdict {
				log.Warn("first\nline", "reason", "r")
				log.Error("second")
				return verdict
			}, pluginserver.Options{})
			log = slog.New(s.Server.Log)
			out := s.Access(t, &kongtest.Request{})
			want := []kongtest.LogLine{{Level: "warn", Text: `first\nline reason=r`}, {Level: "error", Text: "second"}}
			if diff := cmp.Diff(want, out.Log); diff != "" {
				t.Error(diff)
			}
			if (out.Exit != nil) != (name == "exit") {
				t.Errorf("exit: %+v", out.Exit)
			}
		})
	}
}

func TestInvalidConfigurationIsAnswered500AndLogged(t *testing.T) {
	s := serveStart(t, func([]byte) (pluginserver.Handler, error) {
		return nil, errors.New("config.vault: no such vault object")
	}, pluginserver.Options{})
	out := s.Access(t, &kongtest.Request{})
	if out.Exit == nil || out.Exit.Status != 500 {
		t.Fatalf("exit %+v, want 500", out.Exit)
	}
	if len(out.Log) != 1 || out.Log[0].Level != "error" || !strings.Contains(out.Log[0].Text, "config.vault: no such vault object") {
		t.Errorf("log %v", out.Log)
	}
}

func TestUnknownInstanceClosesSoThatKongStartsItAnew(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{})
	_, err := s.Server.HandleEvent(s.ID^1, "access", &kongtest.Request{})
	var call *kongtest.CallError
	if !errors.As(err, &call) || !call.Retried() {
		t.Errorf("got %v, want an error on which Kong starts the instance again", err)
	}
}

func TestOtherPhasesAreRefused(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{})
	out, err := s.Server.HandleEvent(s.ID, "log", &kongtest.Request{})
	if err != nil || out.Exit == nil || out.Exit.Status != 500 {
		t.Errorf("%+v, %v", out.Exit, err)
	}
}

func TestInstanceIDsAreNotCounted(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{})
	seen := map[int]bool{}
	for range 20 {
		id, err := s.Server.StartInstance("p", []byte(`{"__seq__": 1}`))
		if err != nil {
			t.Fatal(err)
		}
		if seen[id] || id == 1 || seen[id-1] || seen[id+1] {
			t.Errorf("id %d after %v", id, seen)
		}
		seen[id] = true
	}
}

func TestClosedInstanceServesRequestsThatHaveItsID(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{})
	if err := s.Server.CloseInstance(s.ID); err != nil {
		t.Fatal(err)
	}
	s.Access(t, &kongtest.Request{})
	if err := s.Server.CloseInstance(12345); err != nil {
		t.Errorf("closing an unknown instance: %v", err)
	}
}

func TestStopFinishesWhatIsInFlight(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict {
		close(entered)
		<-leave
		return pluginserver.Pass()
	}, pluginserver.Options{})
	result := make(chan error, 1)
	go func() {
		out, err := s.Server.HandleEvent(s.ID, "access", &kongtest.Request{})
		if err == nil && out.Exit != nil {
			err = errors.New("the request was answered, not passed")
		}
		result <- err
	}()
	<-entered
	stopped := make(chan struct{})
	go func() { s.Server.Stop(t); close(stopped) }()
	close(leave)
	if err := <-result; err != nil {
		t.Error(err)
	}
	<-stopped
	if _, err := net.Dial("unix", s.Server.Socket); err == nil {
		t.Error("the socket is still listened on")
	}
}

func TestRpcCallThatCannotBeDecodedClosesTheConnection(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{})
	for name, frame := range map[string]string{"garbage": "\x03\x00\x00\x00\xff\xff\xff", "empty": "\x00\x00\x00\x00", "huge": "\xff\xff\xff\xff"} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("unix", s.Server.Socket)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, frame); err != nil {
				t.Fatal(err)
			}
			if name == "huge" {
				c.(*net.UnixConn).CloseWrite()
			}
			if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
				t.Errorf("got %q, %v; want nothing and the end", b, err)
			}
		})
	}
}

// A server that is leaving closes a connection only in answer to an event, which
// Kong then runs elsewhere: after it has started an instance, which may be here
// again, and then one event is answered.
func TestALeavingServerSendsEventsAway(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{})
	s.Access(t, &kongtest.Request{})
	s.Server.Leave()
	sentAway := func(in *servertest.Instance) {
		t.Helper()
		_, err := in.Server.HandleEvent(in.ID, "access", &kongtest.Request{})
		var call *kongtest.CallError
		if !errors.As(err, &call) || !call.Retried() {
			t.Errorf("%v, want an error on which Kong runs the event again", err)
		}
	}
	for range 3 {
		sentAway(s)
		again := s.Server.Start(t, "{}")
		again.Access(t, &kongtest.Request{})
		sentAway(again)
	}
}

// A worker that has nothing to do keeps its connections for a minute.
func TestALeavingServerGoesOnceNothingIsHeard(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{Grace: time.Hour})
	s.Access(t, &kongtest.Request{})
	s.Server.Leave()
	s.Server.Stop(t)
}

// A worker may send a call over a pooled connection at any moment. When the
// server ends, the call must find the connection ended, not reset: Kong then
// sends it again, and answers 500 otherwise.
func TestACallSentWhileTheServerStopsFindsTheConnectionEnded(t *testing.T) {
	s := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{})
	c, err := net.Dial("unix", s.Server.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// A first call, so that the connection is surely accepted.
	if _, err := io.WriteString(c, "\x07\x00\x00\x00\x08\x01\x9a\x02\x02\x08\x01"); err != nil { // cmd_close_instance, 1
		t.Fatal(err)
	}
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, c, int64(head[0])); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan struct{})
	go func() { s.Server.Stop(t); close(stopped) }()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 { // the server's half is closed
		t.Fatalf("%q, %v", b, err)
	}
	if _, err := io.WriteString(c, "\x04\x00\x00\x00call"); err != nil {
		t.Errorf("the call could not be sent: %v", err)
	}
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("got %q, %v; want the end", b, err)
	}
	<-stopped
}

// Kong names the plugin as it starts an instance, and one socket serves several.
func TestInstancesAreOfThePluginThatKongNames(t *testing.T) {
	answers := map[string]*pluginserver.Answers{"first": pluginserver.NewAnswers(), "second": pluginserver.NewAnswers()}
	plugin := func(name string) pluginserver.Plugin {
		return pluginserver.Plugin{
			Start: func(config []byte) (pluginserver.Handler, error) {
				if string(config) == "bad" {
					return nil, errors.New(name + " can't be started")
				}
				return access(func(*pluginserver.Event) pluginserver.Verdict {
					if string(config) == "panic" {
						panic("")
					}
					return pluginserver.Exit(418, name, nil)
				}), nil
			},
			Answers: answers[name],
		}
	}
	s := servertest.Serve(t, func(*slog.Logger) pluginserver.Plugin { return plugin("first") },
		pluginserver.Options{Others: map[string]pluginserver.Plugin{"second": plugin("second")}})
	for name, want := range map[string]string{"plugin": "first", "second": "second", "renamed": "first"} {
		for config, status := range map[string]int{"{}": 418, "bad": 500, "panic": 500} {
			id, err := s.StartInstance(name, []byte(config))
			if err != nil {
				t.Fatal(err)
			}
			out := (&servertest.Instance{Server: s, ID: id}).Access(t, &kongtest.Request{})
			if out.Exit == nil || out.Exit.Status != status || status == 418 && !strings.Contains(string(out.Exit.Body), want) {
				t.Errorf("%s, %s: %+v", name, config, out.Exit)
			}
		}
	}
	for name, want := range map[string][]pluginserver.Answered{
		"first":  {{Answer: "418", Count: 2}, {Answer: "500", Reason: "config", Count: 2}, {Answer: "500", Reason: "panic", Count: 2}},
		"second": {{Answer: "418", Count: 1}, {Answer: "500", Reason: "config", Count: 1}, {Answer: "500", Reason: "panic", Count: 1}},
	} {
		if diff := cmp.Diff(want, counted(answers[name])); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
