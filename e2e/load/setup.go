package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/build"
	"kong-vault-auth/e2e/closing"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/gateway"
	"kong-vault-auth/kongtest/genuine"
)

// The credential and its owner are those of bench/peer, which has no store.
const (
	accessToken = "alice-1"
	secretToken = "s3cret"
	aliceID     = "2f9d4c8e-8f7d-4f3b-9d55-0c6d2f1b7a01"
)

// route is one route of the gateway.
type route struct {
	name    string
	plugin  string // which plugin server's time counts; empty for none
	config  map[string]any
	inQuery bool // where the tokens are, else in headers
}

func routes(vault, azure map[string]any) []route {
	return []route{
		{name: "no plugin"},
		{name: "key-auth", config: map[string]any{"name": "key-auth", "config": map[string]any{"hide_credentials": true}}},
		{name: "external, does nothing", plugin: floorPlugin, config: map[string]any{}},
		{name: "its calls alone: none", plugin: callsPlugin, config: calls(0)},
		{name: "its calls alone: get_headers", plugin: callsPlugin, config: calls(1)},
		{name: "its calls alone: and authenticate", plugin: callsPlugin, config: calls(2)},
		{name: "its calls alone: and set_headers", plugin: callsPlugin, config: calls(3)},
		{name: "vault-auth", plugin: "vault-auth", config: map[string]any{"hcv": vault, "tokens_in_query": false}},
		{name: "vault-auth, in query", plugin: "vault-auth", config: map[string]any{"hcv": vault}, inQuery: true},
		{name: "vault-auth, Azure", plugin: "vault-auth", config: map[string]any{"azure": azure, "tokens_in_query": false}},
		{name: "vault-secrets", plugin: "vault-secrets", config: map[string]any{"headers": map[string]any{"Authorization": "Bearer {vault://azure/upstream-key/value}"}}},
		{name: "go-pdk, ten calls", plugin: "ten", config: map[string]any{}},
	}
}

// callsPlugin is the plugin that does nothing, making some of vault-auth's calls, in a process
// of its own that is scheduled like vault-auth's.
const callsPlugin = "calls"

func calls(n int) map[string]any { return map[string]any{"calls": n, "consumer": aliceID} }

// setup is a gateway with a route for each plugin.
type setup struct {
	routes  []route
	addr    string         // of the proxy
	gateway string         // what it is
	own     []int          // its processes
	plugins map[string]int // plugin servers' processes
	closers closing.Stack
}

func setUp(ctx context.Context, program string) (_ *setup, err error) {
	s := &setup{plugins: map[string]int{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closers.Close())
		}
	}()
	dir, err := os.MkdirTemp("", "load")
	if err != nil {
		return nil, err
	}
	s.closers.Add(func() error { return os.RemoveAll(dir) })
	vault, err := s.startVault(ctx)
	if err != nil {
		return nil, err
	}
	azure, environ, err := s.startAzure(dir)
	if err != nil {
		return nil, err
	}
	s.routes = routes(vault, azure)
	if program == "" { // kongtest's key-auth would be no peer
		s.routes = slices.DeleteFunc(s.routes, func(r route) bool { return r.name == "key-auth" })
	}
	var servers []gateway.PluginServer
	for _, p := range []plugin{
		{name: "vault-auth", folder: ".", env: environ},
		{name: floorPlugin, folder: "e2e/load/nothing"},
		{name: callsPlugin, folder: "e2e/load/nothing", batch: true},
		{name: "ten", folder: "e2e/bench/peer"},
	} {
		server, err := s.startPlugin(ctx, dir, p)
		if err != nil {
			return nil, fmt.Errorf("plugin %s: %w", p.name, err)
		}
		servers = append(servers, server)
	}
	secrets := servers[0] // the other plugin of vault-auth's process
	secrets.Name, secrets.QueryCommand = "vault-secrets", secrets.QueryCommand+" -name vault-secrets"
	servers, s.plugins["vault-secrets"] = append(servers, secrets), s.plugins["vault-auth"]
	upstream, err := s.startUpstream()
	if err != nil {
		return nil, err
	}
	if program == "" {
		return s, s.startKongtest(ctx, dir, servers, s.kongYML(upstream))
	}
	return s, s.startKong(program, dir, servers, s.kongYML(upstream))
}

// startVault returns the configuration of an object on a real Vault that holds
// the credential.
func (s *setup) startVault(ctx context.Context) (map[string]any, error) {
	server, err := vaultserver.Start(ctx, vaultserver.Options{Progress: func(text string) { fmt.Fprintln(os.Stderr, text) }})
	if err != nil {
		return nil, err
	}
	s.closers.Add(server.Close)
	if err := server.Put(ctx, vaultserver.KongAuth, accessToken, record()); err != nil {
		return nil, err
	}
	token, err := server.ReadToken(ctx, vaultserver.KongAuth, time.Hour)
	if err != nil {
		return nil, err
	}
	return vaultserver.KongAuth.Config(server.Addr, token), nil
}

func record() map[string]any {
	return map[string]any{"access_token": accessToken, "secret_token": secretToken, "consumer": map[string]any{"id": aliceID}}
}

// startAzure returns the configuration of an object on a simulated Key Vault,
// and the environment that leads there.
func (s *setup) startAzure(dir string) (config map[string]any, environ []string, err error) {
	const clientID, secret = "22222222-2222-4222-8222-222222222222", "s3cret"
	sim := akvsim.New(akvsim.Options{})
	sim.AddApp(akvsim.App{ClientID: clientID, Secret: secret, May: akvsim.Get})
	value, err := json.Marshal(record())
	if err != nil {
		return nil, nil, err
	}
	sim.Put("kong-auth-"+accessToken, string(value), nil)
	sim.Put("upstream-key", `{"value": "s3cret"}`, nil)
	server, err := sim.Start("127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	s.closers.Add(server.Close)
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, server.CA(), 0o600); err != nil {
		return nil, nil, err
	}
	return map[string]any{"vault_uri": akvsim.VaultURI, "auth_method": "client_secret", "tenant_id": akvsim.Tenant, "client_id": clientID, "client_secret": secret},
		append(server.Environ(ca), "KONG_VAULT_AZURE_VAULT_URI="+akvsim.VaultURI, "KONG_VAULT_AZURE_AUTH_METHOD=client_secret",
			"KONG_VAULT_AZURE_TENANT_ID="+akvsim.Tenant, "KONG_VAULT_AZURE_CLIENT_ID="+clientID, "AZURE_CLIENT_SECRET="+secret), nil
}

// plugin is a plugin server's program.
type plugin struct {
	name, folder string
	env          []string
	batch        bool // whether it is scheduled as a batch task
}

// startPlugin builds and starts a plugin server outside of the gateway.
func (s *setup) startPlugin(ctx context.Context, dir string, p plugin) (server gateway.PluginServer, err error) {
	binary := filepath.Join(dir, p.name)
	if err := build.Program(ctx, p.folder, binary); err != nil {
		return server, err
	}
	cmd := exec.Command(binary, "-kong-prefix", dir)
	cmd.Env = append([]string{}, p.env...)
	if p.name == "vault-auth" {
		cmd.Stderr = os.Stderr
	}
	start := cmd.Start
	if p.batch {
		start = func() error { return startBatch(cmd) }
	}
	if err := start(); err != nil {
		return server, err
	}
	s.plugins[p.name] = cmd.Process.Pid
	s.closers.Add(func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		_ = cmd.Wait() // go-pdk's server ends by the signal
		return nil
	})
	server = gateway.PluginServer{Name: p.name, Socket: filepath.Join(dir, p.name+".socket"), QueryCommand: binary + " -kong-prefix " + dir + " -dump"}
	return server, kongtest.NewClient(server.Socket).AwaitReady(ctx)
}

// startBatch starts a program as a batch task. It inherits that from this thread.
func startBatch(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := schedule(unix.SCHED_BATCH); err != nil {
		return err
	}
	return errors.Join(cmd.Start(), schedule(unix.SCHED_NORMAL))
}

func schedule(policy uint32) error {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return err
	}
	attr.Policy = policy
	return unix.SchedSetAttr(0, attr, 0)
}

func (s *setup) startUpstream() (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok")) // the client notices a gateway that has ended
	})}
	go server.Serve(l)
	s.closers.Add(server.Close)
	return "http://" + l.Addr().String(), nil
}

// kongYML declares the routes.
func (s *setup) kongYML(upstream string) string {
	var declared []any
	for i, r := range s.routes {
		entity := map[string]any{"name": fmt.Sprintf("r%d", i), "paths": []any{fmt.Sprintf("/r%d", i)}}
		if r.plugin != "" {
			entity["plugins"] = []any{map[string]any{"name": r.plugin, "config": r.config}}
		} else if r.config != nil {
			entity["plugins"] = []any{r.config}
		}
		declared = append(declared, entity)
	}
	b, err := json.Marshal(map[string]any{
		"_format_version": "3.0",
		"services":        []any{map[string]any{"name": "upstream", "url": upstream, "routes": declared}},
		"consumers": []any{map[string]any{
			"id": aliceID, "username": "alice", "custom_id": "a-1",
			"keyauth_credentials": []any{map[string]any{"key": accessToken}},
		}},
	})
	if err != nil {
		panic(err) // it is all maps and strings
	}
	return string(b)
}

func (s *setup) startKong(program, dir string, servers []gateway.PluginServer, config string) error {
	k, err := genuine.Start(genuine.Options{
		Program: program, Prefix: filepath.Join(dir, "kong"), Servers: servers,
		Env: []string{"KONG_NGINX_WORKER_PROCESSES=2", "KONG_PROXY_ACCESS_LOG=off"},
	})
	if err != nil {
		return err
	}
	s.closers.Add(k.Stop)
	if err := k.SetConfig(config); err != nil {
		return err
	}
	version, err := k.Version()
	if err != nil {
		return err
	}
	s.addr, s.gateway = k.Addr(), "Kong "+version
	s.own, err = k.Workers()
	return err
}

func (s *setup) startKongtest(ctx context.Context, dir string, servers []gateway.PluginServer, config string) error {
	binary := filepath.Join(dir, "serve")
	if err := build.Program(ctx, "kongtest/serve", binary); err != nil {
		return err
	}
	file := filepath.Join(dir, "kong.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(binary, "-config", file, "-listen", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "KONG_PREFIX="+filepath.Join(dir, "kong"), "KONG_LOG_LEVEL=error")
	var names []string
	for _, server := range servers {
		names = append(names, server.Name)
		setting := "KONG_PLUGINSERVER_" + strings.ToUpper(strings.ReplaceAll(server.Name, "-", "_"))
		cmd.Env = append(cmd.Env, setting+"_SOCKET="+server.Socket, setting+"_QUERY_CMD="+server.QueryCommand)
	}
	cmd.Env = append(cmd.Env, "KONG_PLUGINSERVER_NAMES="+strings.Join(names, ","))
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.closers.Add(func() error {
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			return err
		}
		return cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return err
	}
	s.addr, s.gateway = strings.TrimPrefix(strings.TrimSpace(line), "ready on http://"), "kongtest"
	s.own = []int{cmd.Process.Pid}
	return nil
}
