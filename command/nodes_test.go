package command

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/rogpeppe/go-internal/testscript"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/blocklist"
	"kong-vault-auth/fleet"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// redisServer starts Redis for the rest of the script, and sets REDIS to its address.
func redisServer(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", ts.MkAbs("."))
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	said := bufio.NewScanner(out)
	for !strings.Contains(said.Text(), "Ready to accept connections") {
		if !said.Scan() {
			ts.Fatalf("Redis has ended: %v", said.Err())
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	ts.Setenv("REDIS", addr)
}

// otherNode is a node on another machine.
type otherNode struct {
	object *vault.Object
	blocks *blocklist.List
}

func (n *otherNode) accepts(accessToken, secret string) bool {
	_, err := n.object.Lookup(context.Background(), accessToken, secret, nil)
	if err != nil && !errors.Is(err, vault.ErrRefused) {
		panic(err)
	}
	return err == nil
}

// newNode starts a plugin server on another machine for the rest of the script. It gets
// changes through Redis, and has looked up pairs in an object:
//
//	node one hcv mobile-1 $SECRET
func newNode(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs("node-" + args[0])
	ts.Check(os.Mkdir(dir, 0o700))
	its := environment(ts)
	getenv := func(name string) string {
		if name == "KONG_VAULT_HCV_TOKEN" {
			return its("ROOT")
		}
		return its(name)
	}
	log, key := slog.New(slog.NewTextHandler(io.Discard, nil)), ts.Getenv(blocklist.KeyVariable)
	n := &otherNode{blocks: blocklist.Open(filepath.Join(dir, "blocks"), key, log)}
	r := vault.NewRegistry([]secretstore.Kind{hashivault.Kind, azurevault.Kind}, vault.Options{Getenv: getenv, Blocked: n.blocks})
	var err error
	n.object, _, err = r.Open("plugin", vault.Config{Vault: args[1]})
	ts.Check(err)
	for i := 2; i+1 < len(args); i += 2 {
		n.accepts(args[i], args[i+1])
	}
	settings, err := fleet.ParseSettings(getenv)
	ts.Check(err)
	_, stop := fleet.Start(context.Background(), fleet.Options{Settings: settings, KeyFile: key, Target: r, Blocks: n.blocks, Logger: log})
	ts.Defer(func() {
		stop()
		r.Close()
	})
	nodesOf(ts)[args[0]] = n
	others := redis.NewClient(&redis.Options{Addr: ts.Getenv("REDIS")})
	defer others.Close()
	for known := int64(0); known < int64(len(nodesOf(ts))); { // until the others count on it
		known, err = others.HLen(context.Background(), "{vault-auth}:nodes").Result()
		ts.Check(err)
	}
}

// nodesOf are the nodes of a script, by name.
func nodesOf(ts *testscript.TestScript) map[string]*otherNode {
	return ts.Value(nodesKey{}).(map[string]*otherNode)
}

type nodesKey struct{}

// nodeAccepts presents a pair to a node, which must accept it, or with ! refuse it:
//
//	node-accepts one mobile-1 $SECRET
func nodeAccepts(ts *testscript.TestScript, neg bool, args []string) {
	n := nodesOf(ts)[args[0]]
	if n == nil {
		ts.Fatalf("there is no node %s", args[0])
	}
	if n.accepts(args[1], args[2]) == neg {
		ts.Fatalf("node %s: the pair is accepted: %v", args[0], neg)
	}
}
