package e2e

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
	"kong-vault-auth/e2e/faults"
	simulation "kong-vault-auth/kongtest/gateway"
)

// nameServer is a DNS server that gives every name the same address.
type nameServer struct {
	address   [4]byte
	conn      net.PacketConn
	answers   atomic.Int64 // a dnsmessage.RCode, or silent
	questions atomic.Int64 // for addresses of IPv4
}

const silent = -1

// startNameServer skips the test where port 53 can't be had: resolv.conf can't name another
// port.
func startNameServer(t *testing.T, address [4]byte) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", fmt.Sprintf("127.53.%d.%d:53", rand.N(256), rand.N(256)))
	if err != nil {
		t.Skipf("no name server can be started: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &nameServer{conn: conn, address: address}
	go s.serve()
	return s
}

func (s *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q, code := m.Questions[0], s.answers.Load()
		if q.Type == dnsmessage.TypeA {
			s.questions.Add(1)
		}
		if code == silent {
			continue
		}
		m = dnsmessage.Message{
			Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true, RCode: dnsmessage.RCode(code)},
			Questions: m.Questions,
		}
		if q.Type == dnsmessage.TypeA && m.RCode == dnsmessage.RCodeSuccess {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET},
				Body:   &dnsmessage.AResource{A: s.address},
			}}
		}
		if answer, err := m.Pack(); err == nil {
			s.conn.WriteTo(answer, from)
		}
	}
}

// pluginAsking is the plugin with a resolv.conf that names a name server, in a mount namespace
// of its own. The test is skipped where we may not create one.
func pluginAsking(t *testing.T, s *nameServer) (path string) {
	t.Helper()
	dir := t.TempDir()
	host, _, _ := net.SplitHostPort(s.conn.LocalAddr().String())
	resolv, path := filepath.Join(dir, "resolv.conf"), filepath.Join(dir, "vault-auth")
	script := fmt.Sprintf("#!/bin/sh\nexec unshare --mount /bin/sh -c 'mount --bind %s /etc/resolv.conf && exec %s \"$@\"' sh \"$@\"\n",
		resolv, filepath.Join(plugins, "vault-auth"))
	for file, text := range map[string]string{
		resolv: "nameserver " + host + "\nsearch .\noptions timeout:1 attempts:1\n",
		path:   script,
	} {
		if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(path, "-dump").CombinedOutput(); err != nil {
		t.Skipf("no mount namespace can be had: %v\n%s", err, out)
	}
	return path
}

// TestVaultWhoseNameGoesAwayIsSurvived, see survives. It was in use before, and all connections
// to it are lost as well. Instead of requests to the store, questions for its name are
// counted.
func TestVaultWhoseNameGoesAwayIsSurvived(t *testing.T) {
	if genuineKong != "" {
		t.Skip("what a genuine Kong starts here is the plugin itself")
	}
	for name, fault := range map[string]int64{
		"no such name":                 int64(dnsmessage.RCodeNameError),
		"the name server fails":        int64(dnsmessage.RCodeServerFailure),
		"the name server says nothing": silent,
		"the name server refuses":      int64(dnsmessage.RCodeRefused),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names := startNameServer(t, [4]byte{127, 0, 0, 1})
			w := newEnv(t)
			known, unread := w.credentials(10), w.credential(nil)
			proxy, _ := w.behindProxy(nil)
			hcv := w.hcv(object{"ttl": 0.2, "host": "vault.test", "port": portOf(proxy.URL)})
			g := &simulated{t: t, Gateway: simulation.Start(t, simulation.Options{
				Config: w.declare(consumers(), w.guarded("/", object{"hcv": hcv})), Plugins: []string{pluginAsking(t, names)},
				MainEnv: quickExit + "; env GODEBUG=netdns=go", // as the plugin is without cgo
			})}
			w.warm(g, known)

			w.survives(g, known, unread, trial{
				begin: func() {
					names.answers.Store(fault)
					w.must(proxy.Set(faults.ClosedPort()))
					w.must(proxy.Clear())
				},
				end:      func() { names.answers.Store(int64(dnsmessage.RCodeSuccess)) },
				requests: func() int { return int(names.questions.Load()) },
				attempts: 1,
			})
			if !strings.Contains(g.Log(), "lookup vault.test") {
				t.Error("the log does not name the cause")
			}
		})
	}
}
