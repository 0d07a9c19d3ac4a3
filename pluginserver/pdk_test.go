package pluginserver_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
)

func TestKongUnderstandsEveryCall(t *testing.T) {
	alice := kongtest.Consumer{ID: "8d9c1b26-5f45-4a86-9f1b-0d5b2f2b6b8a", Username: "alice", CustomID: "a-1", CreatedAt: 1550538920, Tags: []string{"t"}}
	const query, body, odd = "q=caf\xe9", "file \xff", "caf\xe9" // no UTF-8
	type answers struct {
		Headers                  []string
		Query, Method, Var, IP   string
		Context                  []string
		Body, File               string
		Consumer, Loaded, ByName string
		Credential               pluginserver.Credential
		Nobody                   bool
	}
	wait := func(text string, err error) string {
		if err != nil {
			t.Error(err)
		}
		return text
	}
	name := func(c *pluginserver.Consumer, err error) string {
		if err != nil || c == nil {
			t.Error("no consumer", err)
			return ""
		}
		return c.ID + " " + c.Username + " " + c.CustomID
	}
	var got answers
	s := serve(t, func(e *pluginserver.Event) pluginserver.Verdict {
		headers, query, method, scheme, ip := e.GetHeaders(1000), e.GetRawQuery(), e.GetMethod(), e.GetVar("scheme"), e.GetForwardedIP()
		context, consumer, credential, raw := e.GetCtx("authenticated_groups"), e.GetConsumer(), e.GetCredential(), e.GetRawBody()
		fields, err := headers.Wait()
		if err != nil {
			t.Error(err)
		}
		for _, f := range fields {
			got.Headers = append(got.Headers, string(f.Name)+": "+string(f.Value))
		}
		slices.Sort(got.Headers)
		got.Query, got.Method = wait(query.Wait()), wait(method.Wait())
		got.Var, got.IP = wait(scheme.Wait()), wait(ip.Wait())
		if got.Context, err = context.Wait(); err != nil {
			t.Error(err)
		}
		got.Consumer = name(consumer.Wait())
		if c, err := credential.Wait(); err != nil || c == nil {
			t.Error("no credential", err)
		} else {
			got.Credential = *c
		}
		b, err := raw.Wait()
		if err != nil {
			t.Error(err)
		}
		got.Body, got.File = string(b.Content), b.File
		loaded, err := e.LoadConsumer(alice.ID, false)
		got.Loaded = name(loaded, err)
		got.ByName = name(e.LoadConsumer("alice", true))
		nobody, err := e.LoadConsumer("bob", true)
		got.Nobody = nobody == nil && err == nil

		e.Authenticate(loaded, &pluginserver.Credential{ID: "c-1", ConsumerID: alice.ID})
		e.SetHeaders([]pluginserver.HeaderChange{{Name: "X-Odd", Value: odd}, {Name: "X-Gone"}})
		e.SetRawQuery("r=" + odd)
		e.SetRawBody([]byte(odd))
		e.SetSerializeValue("request.uri", "/"+odd)
		e.ClearSerializeValue("request.url")
		e.ClearCtx("authenticated_groups")
		e.SetShared("groups", []string{"g", odd, ""})
		e.SetShared("no groups", []string{})
		e.ClearShared("theirs")
		return pluginserver.Pass()
	}, pluginserver.Options{})
	out := s.Access(t, &kongtest.Request{
		Method: "POST", URI: "/p?" + query, Body: strings.NewReader(body), Forwarded: netip.MustParseAddrPort("192.0.2.7:1234"),
		Header:    []kongtest.Header{{Name: "X-Odd", Value: "caf\xe8"}, {Name: "X-Gone", Value: "1"}, {Name: "X-Gone", Value: "2"}},
		Context:   map[string]any{"authenticated_groups": []any{"g", "h"}},
		Shared:    map[string]any{"theirs": []any{"g"}},
		Consumers: kongtest.ConsumerList{alice}, Consumer: &alice, Credential: &kongtest.Credential{ID: "k", ConsumerID: "other"},
	})
	who := alice.ID + " alice a-1"
	want := answers{
		Headers: []string{"x-gone: 1", "x-gone: 2", "x-odd: caf\xe8"}, Query: query, Method: "POST", Var: "http", IP: "192.0.2.7",
		Context: []string{"g", "h"}, Body: body, Consumer: who, Loaded: who, ByName: who,
		Credential: pluginserver.Credential{ID: "k", ConsumerID: "other"}, Nobody: true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("answers: ", diff)
	}
	if diff := cmp.Diff(&alice, out.Consumer); diff != "" {
		t.Error("authenticated: ", diff)
	}
	if diff := cmp.Diff(&kongtest.Credential{ID: "c-1", ConsumerID: alice.ID}, out.Credential); diff != "" {
		t.Error("authenticated with: ", diff)
	}
	if diff := cmp.Diff([]kongtest.Header{{Name: "X-Odd", Value: odd}}, out.Upstream.Header); diff != "" {
		t.Error("upstream: ", diff)
	}
	if diff := cmp.Diff(map[string]any{"request.uri": "/" + odd, "request.url": nil}, out.Serialize); diff != "" {
		t.Error("log plugins: ", diff)
	}
	shared := map[string]any{"groups": []any{"g", odd, ""}, "no groups": []any{}}
	if diff := cmp.Diff(shared, out.Shared, cmpopts.EquateEmpty()); diff != "" || out.Context["authenticated_groups"] != nil {
		t.Error("other plugins: ", diff, out.Context)
	}
	if out.Upstream.RawQuery != "r="+odd || string(out.Upstream.Body) != odd {
		t.Errorf("upstream: %+v", out.Upstream)
	}
}

// Without a credential Kong knows the consumer as the anonymous one.
func TestAuthenticateWithoutACredential(t *testing.T) {
	s := serve(t, func(e *pluginserver.Event) pluginserver.Verdict {
		e.Authenticate(&pluginserver.Consumer{ID: "guest"}, nil)
		return pluginserver.Pass()
	}, pluginserver.Options{})
	if out := s.Access(t, &kongtest.Request{}); out.Consumer == nil || out.Consumer.ID != "guest" || out.Credential != nil {
		t.Errorf("%+v, %+v", out.Consumer, out.Credential)
	}
}
