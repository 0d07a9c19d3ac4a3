package e2e

import (
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"kong-vault-auth/e2e/faults"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
)

// balancer stands in front of servers, as a load balancer, a Kubernetes Service or a name does:
// it decides for each new connection where that one leads, and leaves the others as they are.
type balancer struct {
	net.Listener
	target atomic.Pointer[string]
}

func startBalancer(t *testing.T, addr string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &balancer{Listener: l}
	b.leadTo(addr)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go b.lead(client)
		}
	}()
	return b
}

// leadTo has new connections lead to an address.
func (b *balancer) leadTo(addr string) { b.target.Store(&addr) }

func (b *balancer) lead(client net.Conn) {
	server, err := net.Dial("tcp", *b.target.Load())
	if err != nil {
		client.Close()
		return
	}
	join(client, server)
}

// join makes one connection of two, until either ends.
func join(a, b net.Conn) {
	defer a.Close()
	go func() {
		io.Copy(b, a)
		b.Close()
	}()
	io.Copy(a, b)
}

// movingStore is a store of two servers behind a balancer, which leads to the first. The second
// works.
type movingStore struct {
	*testEnv
	gateway  gateway
	balancer *balancer
	second   string         // its address
	stored   func() pair    // in the second
	copied   func(p []pair) // to the first; nil if that has what the second has
	remove   func(pair)     // from the second
	fail     func()         // has the first fail each request
}

// TestFailingStoreIsLeftForTheServerThatItsNameLeadsTo: the first server answers each request
// with an error at once, so that its connections stay in use.
func TestFailingStoreIsLeftForTheServerThatItsNameLeadsTo(t *testing.T) {
	for name, open := range map[string]func(*testing.T) *movingStore{
		"Vault, sealed":           sealedVaultMoves,
		"Vault that answers 500":  func(t *testing.T) *movingStore { return failingVaultMoves(t, 500) },
		"Vault that answers 404":  func(t *testing.T) *movingStore { return failingVaultMoves(t, 404) },
		"Key Vault answering 500": func(t *testing.T) *movingStore { return keyVaultMoves(t, 500, "InternalServerError") },
		"Key Vault answering 503": func(t *testing.T) *movingStore { return keyVaultMoves(t, 503, "ServiceUnavailable") },
	} {
		t.Run(name, func(t *testing.T) { open(t).moves() })
	}
}

func (s *movingStore) moves() {
	doomed, unread, known := s.stored(), s.stored(), make([]pair, 5)
	for i := range known {
		known[i] = s.stored()
	}
	if s.copied != nil {
		s.copied(append(known, doomed, unread))
	}
	s.warm(s.gateway, append(known, doomed))
	f := startFlow(s.testEnv, s.gateway, 2, inTurn(known...))

	s.fail()
	program.Eventually(s.T, "the store is failing", func() bool { return s.ask(s.gateway, s.stored()).Status == 503 })
	s.remove(doomed)
	f.await(s.T, 100)
	if a := s.ask(s.gateway, doomed); a.Status != 200 {
		s.Errorf("before the move, a pair deleted from the second server: %d %s", a.Status, a.Body)
	}

	s.balancer.leadTo(s.second)
	refused := 0
	program.Eventually(s.T, "the second server is asked", func() bool {
		ok := s.ask(s.gateway, unread).Status == 200
		if !ok {
			refused++
		}
		return ok
	})
	program.Eventually(s.T, "the second server's no counts", func() bool { return s.ask(s.gateway, doomed).Status == 401 })
	for range 20 {
		if a := s.ask(s.gateway, s.stored()); a.Status != 200 {
			s.Errorf("after the move, a pair that was never read: %d %s", a.Status, a.Body)
		}
	}
	f.stop().all200(s.T, "known pairs")
	s.Logf("after the move, a pair that was never read was refused %d times", refused)
}

// vaultMoves moves to the Vault that all tests share.
func vaultMoves(t *testing.T, first string, settings object) *movingStore {
	w := newEnv(t)
	s := &movingStore{
		testEnv: w, balancer: startBalancer(t, hostOf(first)), second: hostOf(w.vault.Addr),
		stored: func() pair { return w.credential(nil) },
		remove: func(p pair) { w.must(w.vault.Delete(t.Context(), w.kv, p.access)) },
	}
	hcv := w.hcv(object{"ttl": 0.2, "port": portOf("http://" + s.balancer.Addr().String())})
	maps.Copy(hcv, settings)
	s.gateway = w.start(w.guarded("/", object{"hcv": hcv}))
	return s
}

func hostOf(url string) string { return strings.TrimPrefix(url, "http://") }

// sealedVaultMoves has a Vault of its own to seal, which gives the plugin the same
// token.
func sealedVaultMoves(t *testing.T) *movingStore {
	first, token := ownVault(t), rand.Text()
	for _, v := range []*vaultserver.Server{first, sharedVault} {
		policy, err := v.ReadPolicy(t.Context(), vaultserver.KongAuth)
		if err == nil {
			_, err = v.Write(t.Context(), "auth/token/create", object{"id": token, "policies": []string{policy}, "ttl": "1h"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := vaultMoves(t, first.Addr, object{"token": token})
	s.copied = func(pairs []pair) {
		there := *s.testEnv
		there.vault = first
		for _, p := range pairs {
			there.put(p, nil)
		}
	}
	s.fail = func() { s.must(first.Seal(t.Context())) }
	return s
}

func failingVaultMoves(t *testing.T, status int) *movingStore {
	first, err := faults.Listen(sharedVault.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Close() })
	s := vaultMoves(t, first.URL, nil)
	s.fail = func() { s.must(first.Set(faults.Page(status))) }
	return s
}

func keyVaultMoves(t *testing.T, status int, code string) *movingStore {
	a := newAzure(t)
	first := &gate{store: a.sim}
	addrs := a.serve(first, a.sim)
	s := &movingStore{
		testEnv: a.testEnv, balancer: startBalancer(t, addrs[0]), second: addrs[1],
		stored: func() pair { return a.credential(nil) },
		remove: func(p pair) { a.sim.Delete(secretName(p.access)) },
		fail: func() {
			all := func(*http.Request) bool { return true }
			first.set(answerTo(all, status, fmt.Sprintf(`{"error":{"code":%q,"message":"in vain"}}`, code)))
		},
	}
	a.reachedAt(s.balancer.Addr().String())
	s.gateway = a.guard(thePlugin, byClientSecret(object{"ttl": 0.2}))
	return s
}
