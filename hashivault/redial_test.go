package hashivault

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kong-vault-auth/secretstore"
)

// relay is in front of Vaults, like a Service or a load balancer. It decides for each
// new connection where it leads, and doesn't change the others.
type relay struct {
	net.Listener
	backend atomic.Value // the address that new connections lead to
}

func startRelay(t *testing.T, url string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &relay{Listener: l}
	r.leadTo(url)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", r.backend.Load().(string))
			if err != nil {
				client.Close()
				continue
			}
			go pipe(client, server)
			go pipe(server, client)
		}
	}()
	return r
}

func pipe(to, from net.Conn) {
	io.Copy(to, from)
	to.Close()
}

// leadTo makes new connections lead to a URL's host.
func (r *relay) leadTo(url string) {
	_, host, _ := strings.Cut(url, "://")
	r.backend.Store(host)
}

// url is the relay's own.
func (r *relay) url(like string) string {
	scheme, _, _ := strings.Cut(like, "://")
	return scheme + "://" + r.Addr().String()
}

func TestFailingVaultIsLeftForTheOneThatAnswers(t *testing.T) {
	for name, fails := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"500":               {canned(500, `{"errors":["internal error"]}`), "server"},
		"sealed":            {canned(503, sealed), "sealed"},
		"rate limited":      {canned(429, ""), "rate_limited"},
		"somebody's 404":    {canned(404, "<html>"), "unexpected"},
		"an empty 200":      {canned(200, ""), "unexpected"},
		"no mount":          {canned(404, `{"errors":["no handler for route \"secret/data\"."]}`), "mount"},
		"everything denied": {canned(403, noPermission), "denied"},
		"no answer":         {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "timeout"},
	} {
		for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				t.Parallel()
				edit := func(s *httptest.Server) { s.EnableHTTP2 = protocol == "HTTP/2.0" }
				busy, arrived := make(chan struct{}), make(chan struct{})
				old, other := newFakeVault(), newFakeVault()
				old.on(alice, canned(200, secret("alice")))
				old.on("GET secret/data/kong-auth/busy", func(w http.ResponseWriter, r *http.Request) {
					close(arrived)
					<-busy
				})
				other.on(alice, canned(200, secret("alice")))
				first, second := serveTLS(t, old, edit), serveTLS(t, other, edit)
				between := startRelay(t, first.URL)
				s := openAt(t, at(t, config(func(c *Config) { c.SSLVerify = false }), between.url(first.URL)), nil)
				wantFound(t, s)
				// The connection is never idle.
				go s.Read(t.Context(), "busy")
				<-arrived
				defer close(busy)

				old.on(alice, fails.answer)
				patience := 10 * time.Second
				if fails.want == "timeout" {
					patience = 500 * time.Millisecond
				}
				if got, err := readWithin(t, s, patience, "alice"); got != (verdict{Failure: fails.want}) {
					t.Fatalf("before the move: %v, %v", got, err)
				}
				between.leadTo(second.URL)
				wantFound(t, s)
			})
		}
	}
}

// A firewall in front of Vault blocks some names. A stranger who asks for them doesn't
// make the store open new connections all the time.
func TestAnswersToSingleNamesShareConnections(t *testing.T) {
	const names = 50
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			var connections atomic.Int32
			server := serveTLS(t, canned(403, "<html>"), func(s *httptest.Server) {
				s.EnableHTTP2 = protocol == "HTTP/2.0"
				s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateNew {
						connections.Add(1)
					}
				}
			})
			s := openAt(t, at(t, config(func(c *Config) { c.SSLVerify, c.KV = false, "v2" }), server.URL), nil)
			for i := range names {
				var f *secretstore.Failure
				if _, err := s.Read(t.Context(), fmt.Sprint("wp-login-", i)); !errors.As(err, &f) || !f.OneName {
					t.Fatalf("a page for one name: %v", err)
				}
			}
			// The first, and one a second.
			if n := connections.Load(); n > names/2 {
				t.Errorf("%d reads opened %d connections", names, n)
			}
		})
	}
}

// Logins, listings and renewals open new connections too.
func TestLoginsLeaveAFailingVault(t *testing.T) {
	old, other := appRoleVault(0), appRoleVault(0)
	old.on(loginRoute, canned(503, sealed))
	first, second := httptest.NewServer(old), httptest.NewServer(other)
	defer first.Close()
	defer second.Close()
	between := startRelay(t, first.URL)
	s := openAt(t, at(t, config(appRoleConfig), between.url(first.URL)), nil)
	if got, err := readWithin(t, s, 5*time.Second, "alice"); got != (verdict{Failure: "sealed"}) {
		t.Fatalf("before the move: %v, %v", got, err)
	}
	between.leadTo(second.URL)
	// Nobody reads meanwhile, so it is the login that has to move on.
	eventually(t, "a login at the other one", func() bool { return other.count(loginRoute) == 1 })
}

func TestListingsLeaveAFailingVault(t *testing.T) {
	const list = "GET secret/metadata/kong-auth/"
	old, other := newFakeVault(), newFakeVault()
	old.on(list, canned(503, sealed))
	other.on(list, canned(404, notFound))
	first, second := httptest.NewServer(old), httptest.NewServer(other)
	defer first.Close()
	defer second.Close()
	between := startRelay(t, first.URL)
	s := openAt(t, at(t, config(nil), between.url(first.URL)), nil).(*store)
	names := func([]secretstore.Listed) error { return nil }
	if err := s.List(t.Context(), names); err == nil {
		t.Fatal("a sealed Vault has listed something")
	}
	between.leadTo(second.URL)
	if err := s.List(t.Context(), names); err != nil {
		t.Error(err)
	}
}

// A sealed Vault answers at once and keeps its connections. The store leaves it as soon
// as new connections lead to another one.
func TestSealedVaultIsLeftForAnUnsealedOne(t *testing.T) {
	first, second := startVault(t), startVault(t)
	const token = "the-same-in-both"
	for _, v := range []*realVault{first, second} {
		v.put("alice")
		v.token(fields{"id": token})
	}
	between := startRelay(t, first.Addr)
	s := openAt(t, at(t, config(func(c *Config) { c.Token = token }), between.url(first.Addr)), nil)
	wantFound(t, s)
	first.do("PUT", "sys/seal", nil)
	if got, err := readWithin(t, s, 5*time.Second, "alice"); got != (verdict{Failure: "sealed"}) {
		t.Fatalf("before the move: %v, %v", got, err)
	}
	between.leadTo(second.Addr)
	wantFound(t, s)
}
