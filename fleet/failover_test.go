package fleet

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// deployment is several servers of Redis that stand in for each other, with TLS and
// passwords.
type deployment struct {
	url    string
	env    []string
	master *server // it has the stream, and is killed
	heir   *server // it takes over
}

// TestFailover: Sentinel and a cluster, whose master is killed while nodes read and
// write. What the nodes were told is told after it too, and nothing that is forged or
// sent again is accepted.
func TestFailover(t *testing.T) {
	for name, deploy := range map[string]func(*testing.T) deployment{"Sentinel": newWatchedPair, "cluster": newCluster} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := deploy(t)
			a, b := join(t, d.url, d.env...), join(t, d.url, d.env...)
			d.master.registered(2)
			if got := a.Changed(t.Context(), change("ac-before")); got.Applied != 1 {
				t.Fatalf("%+v", got)
			}
			d.master.do("WAIT", "1", "0") // Redis itself has it twice
			old, err := d.master.raw.XRange(t.Context(), streamKey, "-", "+").Result()
			if err != nil || len(old) != 1 {
				t.Fatalf("%v, %v", old, err)
			}

			d.master.kill()
			tokens := []string{"ac-before"}
			eventually(t, "the other one has taken over, and both nodes are back", func() bool {
				if token := fmt.Sprintf("ac-%d", len(tokens)); len(tokens) < maxOutbox/10 {
					a.Changed(t.Context(), change(token))
					tokens = append(tokens, token)
				}
				return d.heir.isMaster() && a.Stats().Connected && b.Stats().Connected
			})
			for _, token := range tokens {
				eventually(t, "b has heard of "+token, func() bool { return b.cache.drops(store.ShortID(token)) > 0 })
			}

			text, signature := old[0].Values[fieldText], old[0].Values[fieldSignature]
			d.heir.do("XADD", streamKey, "*", fieldText, text, fieldSignature, signature)
			d.heir.do("XADD", streamKey, "*", fieldText, strings.Replace(text.(string), `"node":"`, `"node":"x`, 1), fieldSignature, signature)
			if got := a.Changed(t.Context(), change("ac-after")); got.Applied != 1 || len(got.Silent) != 0 {
				t.Errorf("after the failover: %+v", got)
			}
			if st := b.Stats(); st.Forged != 1 || st.Replayed == 0 {
				t.Errorf("%+v", st)
			}
			for _, token := range append(tokens, "ac-after") {
				if n := b.cache.drops(store.ShortID(token)); n != 1 {
					t.Errorf("%s was dropped %d times", token, n)
				}
			}
			if a.Stats().Failures == 0 || !strings.Contains(b.log.String(), "connected to Redis again") {
				t.Errorf("the log says nothing of it: %s", b.log)
			}
		})
	}
}

func (s *server) isMaster() bool {
	role, err := s.raw.Do(s.Context(), "ROLE").Slice()
	return err == nil && role[0] == "master"
}

// secured is the settings of a server that speaks TLS with nodes and other servers, and
// the URL and variables for nodes. Tests speak to it in clear.
func secured(t *testing.T, certificate, key string) (settings []string, tlsAddr string) {
	port := freePort(t)
	return []string{
		"tls-port " + port, "tls-cert-file " + certificate, "tls-key-file " + key, "tls-ca-cert-file " + certificate,
		"tls-auth-clients no", "tls-replication yes",
		"user default on nopass ~* &* +@all", "user vault-auth on >s3cret-of-redis " + rights(t) + " " + clusterRights(t),
	}, net.JoinHostPort("127.0.0.1", port)
}

func secretFile(t *testing.T, secret string) string {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// newWatchedPair is a master and its replica, and Sentinel over both.
func newWatchedPair(t *testing.T) deployment {
	certificate, key := newCertificate(t)
	settings, masterAddr := secured(t, certificate, key)
	master := newServer(t, settings...)
	host, port, _ := net.SplitHostPort(masterAddr)
	settings, _ = secured(t, certificate, key)
	replica := newServer(t, append(settings, "replicaof "+host+" "+port, "repl-diskless-sync-delay 0")...)
	eventually(t, "the replica follows", func() bool { return replica.info("master_link_status") == "up" })

	settings, sentinelAddr := secured(t, certificate, key)
	settings = append(settings[:len(settings)-2], // Sentinel has users of its own
		"requirepass s3cret-of-sentinel",
		"sentinel monitor mymaster "+host+" "+port+" 1", "sentinel down-after-milliseconds mymaster 300", "sentinel failover-timeout mymaster 2000")
	sentinel := newSentinel(t, settings...)
	sentinel.login("s3cret-of-sentinel")
	eventually(t, "Sentinel knows the replica", func() bool {
		return strings.Contains(sentinel.info("master0"), "slaves=1") && sentinel.do("SENTINEL", "CKQUORUM", "mymaster") != nil
	})
	dead := freePort(t)
	return deployment{
		url: "rediss://vault-auth@127.0.0.1:" + dead + "," + sentinelAddr + "?master=mymaster",
		env: []string{
			PasswordVariable, secretFile(t, "s3cret-of-redis"), CAVariable, certificate,
			SentinelPasswordVariable, secretFile(t, "s3cret-of-sentinel"),
		},
		master: master, heir: replica,
	}
}

// newCluster is three masters, and a replica of the one that has the stream.
func newCluster(t *testing.T) deployment {
	certificate, key := newCertificate(t)
	var servers []*server
	var addrs, buses []string
	for range 4 {
		settings, addr := secured(t, certificate, key)
		bus := freePort(t)
		servers = append(servers, newServer(t, append(settings,
			"cluster-enabled yes", "cluster-port "+bus, "cluster-node-timeout 500", "tls-cluster yes", "repl-diskless-sync-delay 0")...))
		addrs, buses = append(addrs, addr), append(buses, bus)
	}
	master := int(servers[0].do("CLUSTER", "KEYSLOT", streamKey).(int64)) / slotsEach
	for i, s := range servers[:3] {
		s.do("CLUSTER", "ADDSLOTSRANGE", i*slotsEach, min((i+1)*slotsEach, slots)-1)
		s.do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
	}
	_, port, _ := net.SplitHostPort(addrs[0])
	for _, s := range servers[1:] {
		s.do("CLUSTER", "MEET", "127.0.0.1", port, buses[0])
	}
	heir, id := servers[3], servers[master].do("CLUSTER", "MYID")
	eventually(t, "the fourth knows the master", func() bool {
		return heir.raw.Do(t.Context(), "CLUSTER", "REPLICATE", id).Err() == nil
	})
	eventually(t, "the replica follows", func() bool { return heir.info("master_link_status") == "up" })
	for _, s := range servers {
		eventually(t, "the cluster is whole", func() bool {
			text, err := s.raw.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(text, "cluster_state:ok") && strings.Contains(text, "cluster_known_nodes:4")
		})
	}
	return deployment{
		url:    "rediss://vault-auth@" + strings.Join(addrs[:3], ","),
		env:    []string{PasswordVariable, secretFile(t, "s3cret-of-redis"), CAVariable, certificate},
		master: servers[master], heir: heir,
	}
}

const (
	slots     = 16384
	slotsEach = slots/3 + 1
)

// info is a field of the answer to INFO.
func (s *server) info(field string) string {
	text, _ := s.raw.Info(s.Context()).Result()
	_, rest, _ := strings.Cut(text, "\n"+field+":")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}

// login has do use a password.
func (s *server) login(password string) {
	s.raw.Close()
	s.raw = redis.NewClient(&redis.Options{Addr: s.addr, Password: password, MaxRetries: -1})
}
