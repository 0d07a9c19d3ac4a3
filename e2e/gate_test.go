package e2e

import (
	"crypto/rand"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/certificatetest"
	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
)

// gate stands in front of a store. Single requests can have a fault.
type gate struct {
	store  http.Handler
	begins func(*http.Request) bool // whether a request is the first of a listing; nil: no listings

	mu       sync.Mutex // guards the rest
	fault    faults.Fault
	requests int         // since forget
	listings []time.Time // when each began, since forget
}

// set begins a fault and ends the previous one, for new requests.
func (g *gate) set(f faults.Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = f
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	fault := g.fault
	g.requests++
	if g.begins != nil && g.begins(r) {
		g.listings = append(g.listings, time.Now())
	}
	g.mu.Unlock()
	fault.Over(g.store).ServeHTTP(w, r)
}

// forget forgets the requests so far.
func (g *gate) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.requests, g.listings = 0, nil
}

// seen counts the requests since forget.
func (g *gate) seen() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests
}

// listed returns when the first listing since forget began. It waits for the second one, which
// begins when the plugin has processed the first.
func (g *gate) listed(t *testing.T) (first time.Time) {
	t.Helper()
	program.Eventually(t, "the store is listed twice", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.listings) > 0 {
			first = g.listings[0]
		}
		return len(g.listings) > 1
	})
	return first
}

// answerTo gives some requests the same answer, in JSON.
func answerTo(which func(*http.Request) bool, status int, body string) faults.Fault {
	return faults.Only(which, faults.Answer("", status, http.Header{"Content-Type": {"application/json"}}, body))
}

// hold keeps back what the store answers to some requests.
type hold struct {
	which    func(*http.Request) bool
	released chan struct{}

	mu   sync.Mutex // guards the rest
	held []held
}

// held is an answer that is kept back.
type held struct {
	path   string
	status int
	gone   <-chan struct{} // closed when the client has hung up
}

func newHold(which func(*http.Request) bool) *hold {
	return &hold{which: which, released: make(chan struct{})}
}

// fault is for gate.set.
func (h *hold) fault() faults.Fault { return faults.Only(h.which, faults.By(h.serve)) }

func (h *hold) serve(w http.ResponseWriter, r *http.Request, store http.Handler) {
	answer := httptest.NewRecorder()
	store.ServeHTTP(answer, r)
	h.mu.Lock()
	h.held = append(h.held, held{r.URL.Path, answer.Code, r.Context().Done()})
	h.mu.Unlock()
	select {
	case <-h.released:
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	case <-r.Context().Done():
	}
}

// holds returns the answers that are kept back so far.
func (h *hold) holds() []held {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]held(nil), h.held...)
}

// release lets them go.
func (h *hold) release() { close(h.released) }

// gatedStore is a store of either kind behind a gate, with credentials in it.
type gatedStore struct {
	*testEnv
	gate    *gate
	g       gateway
	stored  func() pair                    // stores a new pair of alice's
	remove  func(pair)                     // deletes a pair's secret
	reads   func(*http.Request, pair) bool // a request is for a pair's secret
	lists   func(*http.Request) bool       // a request is one of a listing's
	nothing faults.Fault                   // every listing is empty
}

// gatedStores are the stores of revocation tests, by what is done to a secret.
var gatedStores = map[string]func(t *testing.T, settings object) *gatedStore{
	"KV v1":                     func(t *testing.T, s object) *gatedStore { return gatedVault(t, 1, false, s) },
	"KV v2, the latest version": func(t *testing.T, s object) *gatedStore { return gatedVault(t, 2, false, s) },
	"KV v2, all of it":          func(t *testing.T, s object) *gatedStore { return gatedVault(t, 2, true, s) },
	"Key Vault, deleted":        func(t *testing.T, s object) *gatedStore { return gatedKeyVault(t, false, s) },
	"Key Vault, disabled":       func(t *testing.T, s object) *gatedStore { return gatedKeyVault(t, true, s) },
}

// onEachStore runs a scenario on each of them, with so large a budget that revocation_interval
// isn't stretched.
func onEachStore(t *testing.T, settings object, scenario func(s *gatedStore)) {
	for name, open := range gatedStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := object{"max_lookups_per_second": 10_000}
			maps.Copy(all, settings)
			scenario(open(t, all))
		})
	}
}

// gatedVault is a Vault with a KV engine of its own, whose secrets are deleted wholly, or only
// in their latest version.
func gatedVault(t *testing.T, version int, wholly bool, settings object) *gatedStore {
	kv := vaultserver.KV{Mount: "gated-" + rand.Text(), Version: version, Path: "kong-auth"}
	if err := sharedVault.MountKV(t.Context(), kv); err != nil {
		t.Fatal(err)
	}
	w := newEnvOn(t, sharedVault, kv)
	w.mayList()
	target, err := url.Parse(w.vault.Addr)
	w.must(err)
	s := &gatedStore{
		testEnv: w,
		stored:  func() pair { return w.credential(nil) },
		remove: func(p pair) {
			from := kv
			if wholly {
				from = vaultserver.KV{Mount: kv.Mount + "/metadata", Version: 1, Path: kv.Path}
			}
			w.must(w.vault.Delete(t.Context(), from, p.access))
		},
		reads: func(r *http.Request, p pair) bool { return strings.HasSuffix(r.URL.Path, "/"+p.access) },
		lists: func(r *http.Request) bool { return r.URL.Query().Has("list") },
	}
	s.nothing = answerTo(s.lists, http.StatusNotFound, `{"errors":[]}`)
	s.gate = &gate{
		store: httputil.NewSingleHostReverseProxy(target),
		begins: func(r *http.Request) bool {
			return s.lists(r) && (version == 1 || r.URL.Query().Has("exclude_deleted"))
		},
	}
	server := httptest.NewServer(s.gate)
	t.Cleanup(server.Close)
	hcv := w.hcv(settings)
	hcv["port"] = portOf(server.URL)
	s.g = w.start(w.guarded("/", object{"hcv": hcv}))
	return s
}

// gatedKeyVault is a Key Vault whose secrets are deleted, or disabled.
func gatedKeyVault(t *testing.T, disabled bool, settings object) *gatedStore {
	a := newAzure(t)
	a.app(func(app *akvsim.App) { app.May = akvsim.Get | akvsim.List })
	s := &gatedStore{
		testEnv: a.testEnv,
		stored:  func() pair { return a.credential(nil) },
		remove: func(p pair) {
			if disabled {
				a.sim.Change(secretName(p.access), "", azsecrets.SecretAttributes{Enabled: to.Ptr(false)})
				return
			}
			a.sim.Delete(secretName(p.access))
		},
		reads: func(r *http.Request, p pair) bool { return r.URL.Path == "/secrets/"+secretName(p.access)+"/" },
		lists: func(r *http.Request) bool { return r.URL.Path == "/secrets" },
	}
	s.nothing = answerTo(s.lists, http.StatusOK, `{"value":[],"nextLink":null}`)
	s.gate = &gate{
		store:  a.sim,
		begins: func(r *http.Request) bool { return s.lists(r) && !r.URL.Query().Has("$skiptoken") },
	}
	a.behind(s.gate)
	s.g = a.guard(thePlugin, byClientSecret(settings))
	return s
}

// behind leads all requests for the simulator to another handler.
func (a *azure) behind(h http.Handler) {
	a.Helper()
	a.reachedAt(a.serve(h)[0])
}

// serve starts a server for each handler, with a certificate of Key Vault and Entra, and returns
// their addresses.
func (a *azure) serve(handlers ...http.Handler) (addrs []string) {
	a.Helper()
	ca := certificatetest.NewCA()
	certificate := ca.Issue("contoso.vault.azure.net", "login.microsoftonline.com").TLS()
	for _, h := range handlers {
		hosts := httptest.NewUnstartedServer(h)
		hosts.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
		hosts.EnableHTTP2 = true
		hosts.StartTLS()
		a.Cleanup(hosts.Close)
		addrs = append(addrs, hosts.Listener.Addr().String())
	}
	a.env = []string{"SSL_CERT_FILE=" + a.file("gate.pem", ca.PEM())}
	return addrs
}

// reachedAt leads all of the plugin's requests to Azure to an address.
func (a *azure) reachedAt(addr string) {
	a.Helper()
	proxy := httptest.NewServer(tunnelTo(addr))
	a.Cleanup(proxy.Close)
	a.env = append(a.env, "HTTPS_PROXY="+proxy.URL)
}

// tunnelTo is a proxy that leads every client to the same address.
func tunnelTo(addr string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		there, err := net.Dial("tcp", addr)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			there.Close()
			return
		}
		io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n")
		join(here, there)
	}
}
