package hashivault

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// firewall forwards requests to a Vault, except those that it answers with a page.
func firewall(t *testing.T, v *realVault) *httptest.Server {
	t.Helper()
	address, err := url.Parse(v.Addr)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(address)
	forward.Transport = &http.Transport{MaxIdleConnsPerHost: maxParallel}
	forward.ErrorLog = log.New(io.Discard, "", 0) // reads that Close has ended
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusForbidden
		switch {
		case !strings.Contains(r.URL.Path, "wp-login"):
			forward.ServeHTTP(w, r)
			return
		case strings.HasSuffix(r.URL.Path, "0"):
			status = http.StatusNotFound
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		io.WriteString(w, "<html><body>Request blocked</body></html>")
	}))
	t.Cleanup(server.Close)
	return server
}

// ip is a client's address.
type ip string

func (a ip) Address() string { return string(a) }

// 299 clients send their first requests, with an empty cache, while somebody asks for
// names that Vault refuses as paths, or that a firewall in front of it blocks.
func TestNoFirstTimeClientIsRefusedBesidePoisonedRequests(t *testing.T) {
	const clients = 299
	v := startVault(t)
	for i := range clients {
		v.put(fmt.Sprint("client-", i))
	}
	waf := firewall(t, v)
	token := v.token(nil)
	for _, rate := range []int{1, 10, 100} { // poisoned requests a second
		t.Run(fmt.Sprint(rate, " a second"), func(t *testing.T) {
			r := vault.NewRegistry([]secretstore.Kind{Kind}, vault.Options{Getenv: func(string) string { return "" }})
			defer r.Close()
			cfg := at(t, config(func(c *Config) { c.Token = token }), waf.URL)
			cfg.Limits = secretstore.Limits{TTL: 60, MaxTTL: 3600, NegTTL: 5, MaxLookupsPerSecond: 100}
			o, release, err := r.Open("", vault.Config{Inline: &cfg})
			if err != nil {
				t.Fatal(err)
			}
			defer release()

			stop := make(chan struct{})
			var poison sync.WaitGroup
			poison.Go(func() {
				due := time.NewTicker(time.Second / time.Duration(rate))
				defer due.Stop()
				for i := 0; ; i++ {
					poison.Go(func() {
						attacker := ip(fmt.Sprint("192.0.2.", i%100))
						if _, err := o.Lookup(t.Context(), fmt.Sprint("wp-login.php-", i), "s", attacker); !errors.As(err, new(*vault.UnavailableError)) && !errors.As(err, new(*vault.LimitError)) {
							t.Errorf("a name that a firewall blocks: %v", err)
						}
						if _, err := o.Lookup(t.Context(), fmt.Sprint("a..b", i), "s", attacker); !errors.Is(err, vault.ErrRefused) {
							t.Errorf("a name that Vault can't have: %v", err)
						}
					})
					select {
					case <-stop:
						return
					case <-due.C:
					}
				}
			})
			<-time.After(100 * time.Millisecond)
			got := map[string]int{}
			for i := range clients {
				_, err := o.Lookup(t.Context(), fmt.Sprint("client-", i), "s3cret", ip(fmt.Sprintf("10.0.%d.%d", i/250, i%250)))
				got[fmt.Sprint(err)]++
				<-time.After(10 * time.Millisecond)
			}
			close(stop)
			poison.Wait()
			if diff := cmp.Diff(map[string]int{"<nil>": clients}, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}
