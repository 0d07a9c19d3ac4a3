package hashivault

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/certificatetest"
	"kong-vault-auth/secretstore"
)

// What vault/api takes from the environment, down to logins and renewals.
func TestEnvironmentHasNoEffectOnVaultAPI(t *testing.T) {
	for key, value := range map[string]string{
		"VAULT_ADDR": "https://elsewhere.test:1", "VAULT_AGENT_ADDR": "https://elsewhere.test:1", "VAULT_TOKEN": "hvs.from-the-environment",
		"VAULT_NAMESPACE": "other", "VAULT_HEADERS": `{"X-Other":"1"}`, "VAULT_SKIP_VERIFY": "true", "VAULT_MAX_RETRIES": "9",
		"VAULT_WRAP_TTL": "60s", "VAULT_RATE_LIMIT": "0.001:1", "VAULT_CLIENT_TIMEOUT": "1ns", "VAULT_PROXY_ADDR": "http://elsewhere.test:1",
		"VAULT_SRV_LOOKUP": "true", "VAULT_DISABLE_REDIRECTS": "false", "VAULT_TLS_SERVER_NAME": "elsewhere.test",
	} {
		t.Setenv(key, value)
	}
	var headers []http.Header
	v := newFakeVault()
	v.on("PUT auth/approle/login", func(w http.ResponseWriter, r *http.Request) {
		headers = append(headers, r.Header.Clone())
		canned(200, granted(testToken, 0))(w, r)
	})
	v.on(alice, func(w http.ResponseWriter, r *http.Request) {
		headers = append(headers, r.Header.Clone())
		canned(200, secret("alice"))(w, r)
	})
	server := httptest.NewServer(v)
	defer server.Close()
	o := options(nil)
	o.TrustNode = false
	s, err := Open(at(t, config(appRoleConfig), server.URL), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantFound(t, s)
	for _, h := range headers {
		h.Del("Content-Length")
	}
	common := http.Header{"User-Agent": {"kong-vault-auth/test"}, "X-Vault-Request": {"true"}}
	withToken := common.Clone()
	withToken.Set("X-Vault-Token", testToken)
	if diff := cmp.Diff([]http.Header{common, withToken}, headers); diff != "" {
		t.Error(diff)
	}

	s, err = Open(at(t, config(nil), serveTLS(t, v, nil).URL), o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := readWithin(t, s, 5*time.Second, "alice"); got != (verdict{Failure: "tls"}) {
		t.Errorf("VAULT_SKIP_VERIFY had effect: %v, %v", got, err)
	}
}

func TestBrokenVariablesAreNamed(t *testing.T) {
	t.Setenv("VAULT_MAX_RETRIES", "many")
	_, err := Open(config(nil), options(nil))
	if err == nil || !strings.Contains(err.Error(), "VAULT_* variable") {
		t.Error(err)
	}
}

func TestPathsAreRequestedUnchanged(t *testing.T) {
	var asked string
	s := openOn(t, config(func(c *Config) { c.Mount, c.Path = "team a/kv", "50% off?#x" }), nil,
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "kong") {
				asked = r.URL.EscapedPath()
			}
			canned(404, notFound)(w, r)
		}))
	if got, err := readWithin(t, s, time.Second, "kong.v2~a-b_c"); got != (verdict{Absent: secretstore.ReasonNotFound}) {
		t.Errorf("%v, %v", got, err)
	}
	if want := "/v1/team%20a/kv/data/50%25%20off%3F%23x/kong.v2~a-b_c"; asked != want {
		t.Errorf("asked for %s, want %s", asked, want)
	}
}

func TestMalformedAccessTokensReachNoServer(t *testing.T) {
	s := openOn(t, config(nil), nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v1/sys/") && !strings.HasPrefix(r.URL.Path, "/v1/auth/") {
			t.Errorf("asked for %s", r.URL.Path)
		}
	}))
	for _, name := range []string{"", ".", "..", "a..b", "../../sys/mounts", "a/b", "a%2fb", "a?b", "a\nb", strings.Repeat("a", 256)} {
		if got, err := readWithin(t, s, time.Second, name); got != (verdict{Absent: secretstore.ReasonNotFound}) {
			t.Errorf("%q: %v, %v", name, got, err)
		}
	}
}

// A standby sends reads and logins to the active node; nothing else may have the
// token.
func TestRedirectsAreFollowedOnlyAsStandbysMeanThem(t *testing.T) {
	active := newFakeVault()
	active.on("PUT auth/approle/login", canned(200, granted(testToken, 0)))
	active.on(alice, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != testToken {
			canned(403, deadToken)(w, r)
			return
		}
		canned(200, secret("alice"))(w, r)
	})
	activeServer := httptest.NewServer(active)
	defer activeServer.Close()
	for _, test := range []struct {
		about string
		to    func(path string) string
		want  verdict
	}{
		{"the same path on the active node", func(path string) string { return activeServer.URL + path }, verdict{Found: "alice"}},
		{"another path there", func(string) string { return activeServer.URL + "/v1/secret/data/kong-auth/bob" }, verdict{Failure: "redirect"}},
		{"itself", func(path string) string { return path }, verdict{Failure: "redirect"}},
	} {
		t.Run(test.about, func(t *testing.T) {
			standby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, test.to(r.URL.Path), http.StatusTemporaryRedirect)
			}))
			defer standby.Close()
			s := openAt(t, at(t, config(appRoleConfig), standby.URL), nil)
			if got, err := readWithin(t, s, 2*time.Second, "alice"); got != test.want {
				t.Errorf("%v, %v", got, err)
			}
		})
	}

	t.Run("from https to http", func(t *testing.T) {
		standby := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, activeServer.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}), nil)
		cfg := at(t, config(func(c *Config) { c.CACert = certPEM(standby) }), standby.URL)
		if got, err := readWithin(t, openAt(t, cfg, nil), 2*time.Second, "alice"); got != (verdict{Failure: "redirect"}) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

func TestTransientFailuresAreRetried(t *testing.T) {
	hangUp := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	for _, test := range []struct {
		about string
		first http.HandlerFunc
		reads int
	}{
		{"a lost connection", hangUp, 2},
		{"500", canned(500, `{"errors":["internal error"]}`), 2},
		{"502", canned(502, ""), 2},
		{"503 of a load balancer", canned(503, ""), 2},
		{"412 of a standby that lags", canned(412, `{"errors":["required index state not present"]}`), 2},
		{"473", canned(473, ""), 2},
		{"sealed", canned(503, sealed), 1},
		{"503 that says how long", canned(503, "", "Retry-After", "5"), 1},
		{"429", canned(429, ""), 1},
		{"no such secret", canned(404, notFound), 1},
		{"a bad request", canned(400, `{"errors":["bad"]}`), 1},
	} {
		t.Run(test.about, func(t *testing.T) {
			var reads atomic.Int32
			v := newFakeVault()
			v.on(alice, func(w http.ResponseWriter, r *http.Request) {
				if reads.Add(1) == 1 {
					test.first(w, r)
					return
				}
				canned(200, secret("alice"))(w, r)
			})
			server := httptest.NewServer(v)
			defer server.Close()
			_, err := openAt(t, at(t, config(nil), server.URL), nil).Read(t.Context(), "alice")
			if got := int(reads.Load()); got != test.reads || (err == nil) != (test.reads > 1) {
				t.Errorf("%d reads, want %d: %v", got, test.reads, err)
			}
		})
	}
}

func TestTLSFailuresAreNamed(t *testing.T) {
	ca := certificatetest.NewCA()
	for _, test := range []struct {
		about string
		edit  func(*x509.Certificate)
		want  string
	}{
		{"expired", func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
		}, "has expired or isn't valid yet"},
		{"another name", func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = []string{"vault.test"}, nil }, "set host, or tls_server_name"},
	} {
		template := certificatetest.Template("vault.test", "127.0.0.1")
		test.edit(template)
		cert := ca.Sign(template).TLS()
		server := serveTLS(t, newFakeVault(), func(s *httptest.Server) { s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}} })
		cfg := at(t, config(func(c *Config) { c.CACert = ca.PEM() }), server.URL)
		_, err := readWithin(t, openAt(t, cfg, nil), 2*time.Second, "alice")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.about, err)
		}
	}

	plain := httptest.NewServer(newFakeVault())
	defer plain.Close()
	cfg := at(t, config(nil), plain.URL)
	cfg.Protocol = "https"
	if _, err := readWithin(t, openAt(t, cfg, nil), 2*time.Second, "alice"); err == nil || !strings.Contains(err.Error(), "set protocol to http") {
		t.Errorf("a server without TLS: %v", err)
	}
}

func TestNoServerIsAFailureThatNamesTheRemedy(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	missing := filepath.Join(t.TempDir(), "agent.sock")
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{at(t, config(nil), "http://"+l.Addr().String()), "check host and port"},
		{config(func(c *Config) { c.UnixSocket = missing }), "check unix_socket"},
		{config(func(c *Config) { c.CACert = missing; c.Protocol = "https" }), "it is read as soon as it is there"},
	} {
		if _, err := readWithin(t, openAt(t, test.cfg, nil), 2*time.Second, "alice"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want %q: %v", test.want, err)
		}
	}
}

func TestEndlessAnswersAreCutOff(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for page := []byte(strings.Repeat("x", 1<<10)); r.Context().Err() == nil; {
			w.Write(page)
		}
	}))
	defer server.Close()
	for _, cfg := range []Config{config(nil), config(appRoleConfig)} {
		_, err := readWithin(t, openAt(t, at(t, cfg, server.URL), nil), 5*time.Second, "alice")
		if err == nil || strings.Contains(err.Error(), "in time") {
			t.Error(err)
		}
	}
}

func TestAgentOnASocketNeedsNoToken(t *testing.T) {
	v := newFakeVault()
	v.on(alice, func(w http.ResponseWriter, r *http.Request) {
		if _, given := r.Header["X-Vault-Token"]; given {
			t.Error("a token was sent")
		}
		canned(200, secret("alice"))(w, r)
	})
	socket := filepath.Join(t.TempDir(), "agent.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: v}}
	server.Start()
	defer server.Close()
	wantFound(t, openAt(t, config(func(c *Config) { c.Token, c.UnixSocket = "", socket }), nil))
}

func TestConnectionsAreKept(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			var opened atomic.Int32
			var together sync.WaitGroup
			v := newFakeVault()
			v.on(alice, func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol {
					t.Errorf("spoke %s", r.Proto)
				}
				together.Done()
				together.Wait() // so that all are in flight at once
				canned(200, secret("alice"))(w, r)
			})
			server := serveTLS(t, v, func(s *httptest.Server) {
				s.EnableHTTP2 = protocol == "HTTP/2.0"
				s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
					if state == http.StateNew {
						opened.Add(1)
					}
				}
			})
			s := openAt(t, at(t, config(func(c *Config) { c.CACert = certPEM(server) }), server.URL), nil)
			const rounds = 6
			for range rounds {
				together.Add(maxParallel)
				var reads sync.WaitGroup
				for range maxParallel {
					reads.Go(func() { wantFound(t, s) })
				}
				reads.Wait()
			}
			// Not maxParallel: one that is just being put back is not there for
			// the next round.
			if got := opened.Load(); got > rounds*maxParallel/2 {
				t.Errorf("%d connections for %d rounds of %d reads", got, rounds, maxParallel)
			}
		})
	}
}
