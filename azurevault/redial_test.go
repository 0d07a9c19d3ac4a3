package azurevault

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/secretstore"
)

// moving is a store whose new connections lead to the Azure that was selected last.
type moving struct {
	*store
	to    atomic.Pointer[akvsim.Server]
	dials atomic.Int32
}

func openMoving(t *testing.T, first, second azure) *moving {
	t.Helper()
	m := &moving{}
	m.to.Store(first.server)
	transport := newTransport(secretstore.Reach{})
	// The name of the proxy says nothing, as that of a key vault: what it
	// resolves to counts.
	transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:1"})
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		m.dials.Add(1)
		u, err := url.Parse(m.to.Load().ProxyURL())
		if err != nil {
			return nil, err
		}
		return (&net.Dialer{}).DialContext(ctx, network, u.Host)
	}
	transport.TLSClientConfig.RootCAs = x509.NewCertPool()
	for _, a := range []azure{first, second} {
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(a.server.CA())
	}
	s, err := open(complete(Config{
		VaultURI: akvsim.VaultURI, NamePrefix: prefix,
		AuthMethod: "client_secret", TenantID: akvsim.Tenant, ClientID: clientID, ClientSecret: clientSecret,
	}), secretstore.OpenOptions{Name: "kong-auth", Identity: "test"}, newHTTPClient(newRedialing(transport)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	m.store = s
	return m
}

func TestFailingConnectionsAreLeftForThoseThatAnswer(t *testing.T) {
	read := func(s *store) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err := s.Read(ctx, "alice")
		return err
	}
	list := func(s *store) error { return s.List(t.Context(), func([]secretstore.Listed) error { return nil }) }
	for name, tt := range map[string]struct {
		service  akvsim.Service
		fault    akvsim.Fault
		ask      func(*store) error
		loggedIn bool // before the fault
	}{
		"500":                {akvsim.KeyVault, akvsim.VaultError(500, "InternalServerError", "", ""), read, true},
		"503":                {akvsim.KeyVault, akvsim.Unavailable(), read, true},
		"throttled":          {akvsim.KeyVault, akvsim.Throttled(""), read, true},
		"a firewall":         {akvsim.KeyVault, akvsim.Firewall("192.0.2.17"), read, true},
		"somebody's 404":     {akvsim.KeyVault, akvsim.Fault{Status: 404, Body: "<html>"}, read, true},
		"no answer":          {akvsim.KeyVault, akvsim.Fault{Hang: true}, read, true},
		"503 to a listing":   {akvsim.KeyVault, akvsim.Unavailable(), list, true},
		"Entra ID's 503":     {akvsim.Entra, akvsim.Fault{Status: 503}, read, false},
		"Entra ID's refusal": {akvsim.Entra, akvsim.EntraError(401, "invalid_client", 7000222, "expired"), read, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, second := newAzure(t, akvsim.Options{}), newAzure(t, akvsim.Options{})
			first.put("alice", "s", nil)
			second.put("alice", "s", nil)
			s := openMoving(t, first, second)
			if tt.loggedIn {
				if err := tt.ask(s.store); err != nil {
					t.Fatal(err)
				}
			}
			if tt.loggedIn {
				keepBusy(t, first, s.store)
			}
			first.Fail(tt.service, tt.fault)
			if err := tt.ask(s.store); err == nil {
				t.Fatal("it has not failed before the move")
			}
			s.to.Store(second.server)
			if err := tt.ask(s.store); err != nil {
				t.Errorf("after the move: %v", err)
			}
		})
	}
}

// A stranger's names, for which something before the key vault has a page, don't
// cost everybody the connections.
func TestAnswersToSingleNamesShareConnections(t *testing.T) {
	const names = 50
	a := newAzure(t, akvsim.Options{})
	a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 403, Body: "<html>"})
	s := openMoving(t, a, a)
	for i := range names {
		var f *secretstore.Failure
		if _, err := s.Read(t.Context(), fmt.Sprint("wp-login-", i)); !errors.As(err, &f) || !f.OneName {
			t.Fatalf("a page for one name: %v", err)
		}
	}
	// Two for the login and the first read, and one a second.
	if n := s.dials.Load(); n > names/2 {
		t.Errorf("%d reads opened %d connections", names, n)
	}
}

// keepBusy has a request under way on the connection at hand, until the test's
// end.
func keepBusy(t *testing.T, a azure, s *store) {
	t.Helper()
	a.Fail(akvsim.KeyVault, akvsim.Fault{Hang: true})
	before := len(a.Requests(nil))
	go s.Read(t.Context(), "busy")
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for len(a.Requests(nil)) == before {
		select {
		case <-poll.C:
		case <-t.Context().Done():
			t.Fatal("the request has not arrived")
		}
	}
}
