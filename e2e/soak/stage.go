package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/kongtest"
)

var kv = vaultserver.KV{Mount: "secret", Version: 2, Path: "kong-auth"}

// The plugin's settings. They are shorter than the defaults, so that everything
// that can happen to a credential does in seconds.
const (
	ttl    = time.Second
	negTTL = time.Second
	budget = 1000 // lookups a second that find nothing, of which one client address has a tenth
)

// The routes: guarded is that of all load but what asks a Vault whose name
// doesn't resolve.
const (
	guarded    = "/"
	unresolved = "/unresolved"
)

// consumers own the credentials in turn.
var consumers = []string{"alice", "bob"}

// stage is all that runs.
type stage struct {
	vault    *vaultserver.Server
	proxy    *faults.Proxy // between the plugin and Vault
	gateway  *kongtest.Gateway
	upstream *httptest.Server
	cast     *cast
	closers  []func() error
}

func set(ctx context.Context, plugin string, say func(string)) (_ *stage, err error) {
	s := &stage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.strike())
		}
	}()
	if s.vault, err = vaultserver.Start(ctx, vaultserver.Options{Progress: say}); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.vault.Close)
	if s.proxy, err = faults.Listen(s.vault.Addr); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.proxy.Close)
	s.upstream = httptest.NewServer(echo.Handler(nil))
	s.closers = append(s.closers, func() error { s.upstream.Close(); return nil })
	config, err := s.kongYML(ctx)
	if err != nil {
		return nil, err
	}
	s.gateway, err = kongtest.Run(ctx, kongtest.Options{Config: config, Plugins: []string{plugin}, MaxRetries: -1})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { s.gateway.Close(); return nil })
	s.cast, err = hire(ctx, s)
	return s, err
}

// strike ends everything, in the opposite order.
func (s *stage) strike() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last]())
		s.closers = s.closers[:last]
	}
	return errors.Join(errs...)
}

type object = map[string]any

func (s *stage) kongYML(ctx context.Context) (string, error) {
	token, err := s.vault.ReadToken(ctx, kv, time.Hour)
	if err != nil {
		return "", err
	}
	at, err := url.Parse(s.proxy.URL)
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(at.Host)
	if err != nil {
		return "", err
	}
	route := func(path, host string) object {
		return object{"name": "route" + strings.ReplaceAll(path, "/", "-"), "paths": []string{path}, "plugins": []object{{
			"name": "vault-auth",
			"config": object{"hcv": object{
				"host": host, "port": json.Number(port), "mount": kv.Mount, "path": kv.Path, "kv": "v2", "token": token,
				"ttl": ttl.Seconds(), "neg_ttl": negTTL.Seconds(), "max_lookups_per_second": budget,
			}},
		}}}
	}
	var declared []object
	for i, name := range consumers {
		declared = append(declared, object{"id": fmt.Sprintf("00000000-0000-4000-8000-%012d", i), "username": name})
	}
	b, err := json.Marshal(object{
		"_format_version": "3.0",
		"services": []object{{
			"name": "upstream", "url": s.upstream.URL,
			"routes": []object{route(guarded, host), route(unresolved, "vault.invalid")},
		}},
		"consumers": declared,
	})
	return string(b), err
}

// ask sends a claim's tokens and tells the status, and of a 200 who the upstream
// was told of. No answer is status 0.
func (s *stage) ask(ctx context.Context, client *http.Client, path string, c claim) (status int, consumer string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.gateway.URL()+path, nil)
	if err != nil {
		return 0, ""
	}
	req.Header["access_token"], req.Header["secret_token"] = []string{c.access}, []string{c.secret}
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

// memory is the plugin server's resident memory in MiB, 0 where that can't be
// told.
func (s *stage) memory() int {
	servers := s.gateway.PluginServers()
	if len(servers) == 0 {
		return 0
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", servers[0].PID))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	if fields := strings.Fields(after); len(fields) > 0 {
		kib, _ := strconv.Atoi(fields[0])
		return kib >> 10
	}
	return 0
}
