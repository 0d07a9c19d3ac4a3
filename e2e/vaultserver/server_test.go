package vaultserver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"testing"
	"time"
)

func start(t *testing.T) *Server {
	t.Helper()
	s, err := Start(t.Context(), Options{Progress: func(line string) { t.Log(line) }, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// status is what a read of a secret with a token is answered by.
func status(t *testing.T, s *Server, token, path string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Addr+"/v1/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestServerKeepsItsAddressAndDataFromStartToStart(t *testing.T) {
	s, ctx := start(t), t.Context()
	for _, k := range []KV{
		{Mount: "secret", Version: 2, Path: "kong-auth"},
		{Mount: "old/kv", Version: 1, Path: "kong-auth"},
	} {
		if k.Version == 1 {
			must(t, s.MountKV(ctx, k))
		}
		must(t, s.Put(ctx, k, "mobile-app", map[string]any{"secret_token": "x"}))
		token, err := s.ReadToken(ctx, k, time.Hour)
		must(t, err)
		other := KV{Mount: k.Mount, Version: k.Version, Path: "payroll"}
		must(t, s.Put(ctx, other, "boss", map[string]any{"salary": "x"}))

		steps := []struct {
			name string
			do   func(context.Context) error
			path string
			want int
		}{
			{"started", nil, k.Secret("mobile-app"), 200},
			{"unknown", nil, k.Secret("unknown"), 404},
			{"outside the policy", nil, other.Secret("boss"), 403},
			{"sealed", s.Seal, k.Secret("mobile-app"), 503},
			{"unsealed", s.Unseal, k.Secret("mobile-app"), 200},
			{"stopped", func(context.Context) error { return s.Stop() }, k.Secret("mobile-app"), 0},
			{"restarted", s.Restart, k.Secret("mobile-app"), 200},
			{"revoked", func(ctx context.Context) error { return s.RevokeToken(ctx, token) }, k.Secret("mobile-app"), 403},
		}
		for _, step := range steps {
			if step.do != nil {
				must(t, step.do(ctx))
			}
			if got := status(t, s, token, step.path); got != step.want {
				t.Errorf("KV v%d, %s: a read is answered %d, want %d", k.Version, step.name, got, step.want)
			}
		}
	}
}

func TestReadsCountsWhatReachedTheServer(t *testing.T) {
	s := start(t)
	k := KV{Mount: "secret", Version: 2, Path: "kong-auth"}
	must(t, s.Put(t.Context(), k, "mobile-app", map[string]any{"secret_token": "x"}))
	for range 3 {
		status(t, s, s.Token, k.Secret("mobile-app"))
	}
	status(t, s, s.Token, k.Secret("another"))
	if got, err := s.Reads(k.Secret("mobile-app")); got != 3 || err != nil {
		t.Errorf("Reads: %d, %v, want 3", got, err)
	}
}

func TestServerServesHTTPS(t *testing.T) {
	s := start(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	resp, err := client.Get(s.TLSAddr + "/v1/sys/health")
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("health over HTTPS: %s", resp.Status)
	}
}
