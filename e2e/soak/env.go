package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"kong-vault-auth/e2e/closing"
	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/gateway"
)

// consumers own the credentials in turn.
var consumers = kongtest.ConsumerList{
	{ID: "00000000-0000-4000-8000-000000000001", Username: "alice"},
	{ID: "00000000-0000-4000-8000-000000000002", Username: "bob"},
}

// env is everything that runs for a store.
type env struct {
	store
	gateway  *gateway.Gateway
	upstream *httptest.Server
	dir      string // Kong's prefix, and the plugin's files
	sets     map[*vaultObject]*credentialSet
	stored   atomic.Uint32 // credentials
	closers  closing.Stack
}

// setUp opens a store and starts a gateway, whose error log goes to log.
func setUp(ctx context.Context, plugin string, open func(context.Context, func(string)) (store, error), say func(string), log io.Writer) (_ *env, err error) {
	s := &env{sets: map[*vaultObject]*credentialSet{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.store, err = open(ctx, say); err != nil {
		return nil, err
	}
	s.closers.Add(s.close)
	if s.dir, err = os.MkdirTemp("", "soak"); err != nil {
		return nil, err
	}
	s.closers.Add(func() error { return os.RemoveAll(s.dir) })
	s.upstream = httptest.NewServer(echo.Handler(nil))
	s.closers.Add(func() error { s.upstream.Close(); return nil })
	vaults, err := s.vaultsFile()
	if err != nil {
		return nil, err
	}
	config, err := s.kongYML()
	if err != nil {
		return nil, err
	}
	s.gateway, err = gateway.Run(ctx, gateway.Options{
		Config: config, Plugins: []string{plugin}, MaxRetries: -1, Prefix: s.path("kong"),
		MainEnv:    strings.Join(append(s.environ(), "VAULT_AUTH_VAULTS_FILE="+vaults, "VAULT_AUTH_KONG_STATUS=off"), "; env "),
		TrustedIPs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		ErrorLog: func(l kongtest.LogLine) {
			fmt.Fprintf(log, "%s [%s] %s\n", time.Now().Format(time.StampMilli), l.Level, l.Text)
		},
	})
	if err != nil {
		return nil, err
	}
	s.closers.Add(func() error { s.gateway.Close(); return nil })
	return s, nil
}

// stop ends everything, in the opposite order.
func (s *env) stop() error { return s.closers.Close() }

func (s *env) path(name string) string { return filepath.Join(s.dir, name) }

// vaultsFile declares the vault objects. The snapshot's key is in another folder than the
// snapshot.
func (s *env) vaultsFile() (string, error) {
	key := make([]byte, 32)
	rand.Read(key)
	if err := os.Mkdir(s.path("snapshots"), 0o700); err != nil {
		return "", err
	}
	if err := os.WriteFile(s.path("key"), []byte(base64.StdEncoding.EncodeToString(key)), 0o600); err != nil {
		return "", err
	}
	var declared []object
	for _, o := range vaultObjects {
		declared = append(declared, o.declare(s.store, s.path("snapshots"), s.path("key")))
	}
	file, err := json.Marshal(object{"vaults": declared})
	if err != nil {
		return "", err
	}
	return s.path("vaults.yml"), os.WriteFile(s.path("vaults.yml"), file, 0o600)
}

func (s *env) kongYML() (string, error) {
	var routes []object
	for _, o := range vaultObjects {
		routes = append(routes, object{
			"name": o.name, "paths": []string{o.path()},
			"plugins": []object{{"name": "vault-auth", "config": o.pluginConfig()}},
		})
	}
	b, err := json.Marshal(object{
		"_format_version": "3.0",
		"services":        []object{{"name": "upstream", "url": s.upstream.URL, "routes": routes}},
		"consumers":       []object{{"id": consumers[0].ID, "username": consumers[0].Username}, {"id": consumers[1].ID, "username": consumers[1].Username}},
	})
	return string(b), err
}

// pluginConfig is the configuration of the plugin on the object's route.
func (o *vaultObject) pluginConfig() object { return object{"vault": o.name} }

// ask sends a claim's tokens and returns the status, and for a 200 the consumer that the
// upstream got. Without an answer the status is 0.
func (s *env) ask(ctx context.Context, client *http.Client, c claim) (status int, consumer string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.gateway.URL()+c.path, nil)
	if err != nil {
		return 0, ""
	}
	req.Header["access_token"], req.Header["secret_token"] = []string{c.access}, []string{c.secret}
	req.Header.Set("X-Real-IP", c.from.String())
	resp, err := client.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	var seen echo.Request
	if err := json.NewDecoder(resp.Body).Decode(&seen); err != nil {
		return 0, ""
	}
	return resp.StatusCode, seen.Header.Get("X-Consumer-Username")
}

// memory is the plugin server's resident memory in MiB, 0 where it can't be found out.
func (s *env) memory() int {
	servers := s.gateway.PluginServers()
	if len(servers) == 0 {
		return 0
	}
	return program.MemoryMiB(servers[0].PID)
}
