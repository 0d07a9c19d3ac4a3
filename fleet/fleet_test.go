package fleet

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/credential"
	"kong-vault-auth/pluginserver/servertest"
	"kong-vault-auth/vault"
)

// journal is a log that tests read.
type journal struct{ servertest.Buffer }

// cached stands for the caches of a node.
type cached struct {
	mu       sync.Mutex
	dropped  map[credential.ShortID]int
	verified int
}

func (c *cached) Drop(changes vault.Changes) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range changes.Credentials {
		c.dropped[id]++
	}
	for id := range changes.Placed {
		c.dropped[id]++
	}
	return len(changes.Credentials), nil
}

func (c *cached) Verify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verified++
}

func (c *cached) drops(id credential.ShortID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped[id]
}

func (c *cached) verifications() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verified
}

// member is a node of the fleet.
type member struct {
	*Node
	cache  *cached
	blocks *blocklist.List
	log    *journal
	stop   func()
}

var store = credential.NewNaming("store")

func change(accessToken string) vault.Changes {
	return vault.Changes{Credentials: map[credential.ShortID]bool{store.ShortID(accessToken): true}}
}

// join starts a node, and returns when it hears of the others.
func join(t *testing.T, url string, env ...string) *member {
	t.Helper()
	m := begin(t, url, env...)
	eventually(t, "it is connected: "+m.log.String(), func() bool { return m.Stats().Connected })
	return m
}

func begin(t *testing.T, url string, env ...string) *member {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0f", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{URLVariable: url, blocklist.KeyVariable: key}
	for i := 0; i < len(env); i += 2 {
		values[env[i]] = env[i+1]
	}
	settings, err := ParseSettings(func(name string) string { return values[name] })
	if err != nil {
		t.Fatal(err)
	}
	m := &member{cache: &cached{dropped: map[credential.ShortID]int{}}, log: &journal{}}
	log := slog.New(slog.NewTextHandler(m.log, nil))
	m.blocks = blocklist.Open(filepath.Join(dir, "blocks"), key, log)
	m.Node, m.stop = Start(context.Background(), Options{Settings: settings, KeyFile: values[blocklist.KeyVariable], Target: m.cache, Blocks: m.blocks, Logger: log})
	t.Cleanup(m.stop)
	return m
}

// registered waits until a node has said to the others that it is there.
func (s *server) registered(n int) {
	s.Helper()
	eventually(s.T, "all nodes have registered", func() bool { return s.do("HLEN", nodesKey).(int64) == int64(n) })
}

// TestOthersHaveForgottenWhenTheAnswerSaysSo: three nodes.
func TestOthersHaveForgottenWhenTheAnswerSaysSo(t *testing.T) {
	s := newServer(t)
	a, b, c := join(t, "redis://"+s.addr), join(t, "redis://"+s.addr), join(t, "redis://"+s.addr)
	s.registered(3)
	got := a.Changed(t.Context(), change("ac-alice"))
	if diff := cmp.Diff(Reach{Connected: true, Applied: 2}, got); diff != "" {
		t.Error(diff)
	}
	for name, m := range map[string]*member{"b": b, "c": c} {
		if n := m.cache.drops(store.ShortID("ac-alice")); n != 1 {
			t.Errorf("%s has dropped it %d times", name, n)
		}
	}
	if n := a.cache.drops(store.ShortID("ac-alice")); n != 0 {
		t.Errorf("the sender has heard itself %d times", n)
	}
	got = b.Blocked(t.Context(), []blocklist.Entry{{Target: blocklist.Target{Kind: blocklist.ByConsumer, Value: "carol"}, At: time.Now()}})
	if diff := cmp.Diff(Reach{Connected: true, Applied: 2}, got); diff != "" || !a.blocks.Consumer("id", "carol") || !c.blocks.Consumer("id", "carol") {
		t.Error(diff)
	}
	if text := s.do("XRANGE", streamKey, "-", "+"); strings.Contains(strings.ToLower(fmt.Sprint(text)), "ac-alice") {
		t.Errorf("a token is in the stream: %v", text)
	}
	c.stop()
	if got := a.Changed(t.Context(), change("ac-bob")); got.Applied != 1 || len(got.Silent) != 0 {
		t.Errorf("after one has left: %+v", got)
	}
}

// TestProcessThatIsNoNodeTellsThem, and isn't one of them itself.
func TestProcessThatIsNoNodeTellsThem(t *testing.T) {
	s := newServer(t)
	a, b := join(t, "redis://"+s.addr), join(t, "redis://"+s.addr)
	s.registered(2)
	n, err := Dial(t.Context(), a.o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.leave)
	placed := store.ShortID("ac-alice")
	if got := n.Changed(t.Context(), vault.Changes{Placed: map[credential.ShortID]bool{placed: true}}); got.Applied != 2 || b.cache.drops(placed) != 1 {
		t.Errorf("%+v, b has dropped it %d times", got, b.cache.drops(placed))
	}
	if got := b.Changed(t.Context(), change("ac-bob")); got.Applied != 1 || len(got.Silent) != 0 {
		t.Errorf("the others count it: %+v", got)
	}
	s.kill()
	if got := n.Changed(t.Context(), change("ac-carol")); got.Connected || n.Stats().Waiting != 0 {
		t.Errorf("%+v, and %d messages wait for nobody", got, n.Stats().Waiting)
	}
	if _, err := Dial(t.Context(), a.o); err == nil {
		t.Error("it has connected to nobody")
	}
}

// TestRedisMayGoAndComeBack without its data: what was said meanwhile is said then, what
// may have been missed is verified, and blocks are brought together.
func TestRedisMayGoAndComeBack(t *testing.T) {
	s := newServer(t)
	a, b := join(t, "redis://"+s.addr), join(t, "redis://"+s.addr)
	s.registered(2)
	if got := a.Changed(t.Context(), change("ac-alice")); got.Applied != 1 {
		t.Fatalf("%+v", got)
	}
	s.kill()
	eventually(t, "both know", func() bool { return !a.Stats().Connected && !b.Stats().Connected })
	if got := a.Changed(t.Context(), change("ac-bob")); got.Connected || got.Applied != 0 || a.Stats().Waiting != 1 {
		t.Errorf("%+v, %+v", got, a.Stats())
	}
	if _, err := b.blocks.Add(blocklist.Entry{Target: blocklist.Target{Kind: blocklist.ByConsumer, Value: "carol"}, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	s.run()
	eventually(t, "b has heard what a said meanwhile", func() bool { return b.cache.drops(store.ShortID("ac-bob")) > 0 })
	eventually(t, "b has had everything verified", func() bool { return b.cache.verifications() == 1 })
	eventually(t, "a has heard of the block", func() bool { return a.blocks.Consumer("id", "carol") })
	if !strings.Contains(b.log.String(), "Redis can't be reached") || !strings.Contains(b.log.String(), "connected to Redis again") {
		t.Errorf("the log says %s", b.log)
	}
}

// TestNodeThatWasAwayMissesNothing: it reads on where it was, though connections were cut.
func TestNodeThatWasAwayMissesNothing(t *testing.T) {
	s := newServer(t)
	a, b := join(t, "redis://"+s.addr), join(t, "redis://"+s.addr)
	s.registered(2)
	if got := a.Changed(t.Context(), change("ac-0")); got.Applied != 1 {
		t.Fatalf("%+v", got)
	}
	for _, token := range []string{"ac-1", "ac-2", "ac-3"} {
		s.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		a.Changed(t.Context(), change(token))
	}
	for _, token := range []string{"ac-1", "ac-2", "ac-3"} {
		eventually(t, "b has heard of "+token, func() bool { return b.cache.drops(store.ShortID(token)) == 1 })
	}
	if n := b.cache.verifications(); n != 0 {
		t.Errorf("everything was verified %d times without need", n)
	}
}

// TestNodeThatStartsHearsOfWhatWasBefore, for its snapshot.
func TestNodeThatStartsHearsOfWhatWasBefore(t *testing.T) {
	s := newServer(t)
	a := join(t, "redis://"+s.addr)
	a.Changed(t.Context(), change("ac-alice"))
	a.Blocked(t.Context(), []blocklist.Entry{{Target: blocklist.Target{Kind: blocklist.ByConsumer, Value: "carol"}, At: time.Now()}})
	s.do("XTRIM", streamKey, "MINID", "0") // nothing
	b := join(t, "redis://"+s.addr)
	if b.cache.drops(store.ShortID("ac-alice")) != 1 || !b.blocks.Consumer("id", "carol") {
		t.Errorf("it is connected and has not heard: %s", b.log)
	}
	s.do("DEL", streamKey)
	if c := join(t, "redis://"+s.addr); !c.blocks.Consumer("id", "carol") {
		t.Error("a block was lost with the stream")
	}
}

// TestMessageThatRedisLosesIsSentAgain, as by a replica that takes over without it.
func TestMessageThatRedisLosesIsSentAgain(t *testing.T) {
	s := newServer(t)
	a := join(t, "redis://"+s.addr)
	for _, token := range []string{"ac-kept", "ac-lost"} {
		if got := a.Changed(t.Context(), change(token)); !got.Connected {
			t.Fatalf("%+v", got)
		}
	}
	all, err := s.raw.XRange(t.Context(), streamKey, "-", "+").Result()
	if err != nil || len(all) != 2 {
		t.Fatalf("%v, %v", all, err)
	}
	s.do("XDEL", streamKey, all[1].ID)
	s.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	eventually(t, "it is there again, and only it", func() bool {
		again, err := s.raw.XRange(t.Context(), streamKey, "-", "+").Result()
		return err == nil && len(again) == 2 && cmp.Equal(all[0], again[0]) && again[1].Values[fieldText] == all[1].Values[fieldText]
	})
	if b := join(t, "redis://"+s.addr); b.cache.drops(store.ShortID("ac-lost")) != 1 {
		t.Errorf("another node has not heard of it: %s", b.log)
	}
}

// TestMessageThatCouldNotBeSentIsSentWithoutANewConnection.
func TestMessageThatCouldNotBeSentIsSentWithoutANewConnection(t *testing.T) {
	s := newServer(t, "user default on nopass ~* &* +@all", "user vault-auth on >x "+rights(t))
	a, b := join(t, "redis://vault-auth:x@"+s.addr), join(t, "redis://"+s.addr)
	s.registered(2)
	s.do("ACL", "SETUSER", "vault-auth", "-xadd")
	if got := a.Changed(t.Context(), change("ac-alice")); got.Connected || a.Stats().Waiting != 1 {
		t.Errorf("%+v", got)
	}
	s.do("ACL", "SETUSER", "vault-auth", "+xadd")
	eventually(t, "b has heard of it", func() bool { return b.cache.drops(store.ShortID("ac-alice")) == 1 })
}

// TestAnswerDoesNotSayThatNobodyIsThereWhenItCannotKnow.
func TestAnswerDoesNotSayThatNobodyIsThereWhenItCannotKnow(t *testing.T) {
	s := newServer(t, "user default on nopass ~* &* +@all", "user vault-auth on >x "+rights(t))
	a := join(t, "redis://vault-auth:x@"+s.addr)
	s.do("ACL", "SETUSER", "vault-auth", "-hgetall")
	if got := a.Changed(t.Context(), change("ac-alice")); got.Connected {
		t.Errorf("%+v", got)
	}
}

// TestLostMessagesHaveEverythingVerified, once a minute at most.
func TestLostMessagesHaveEverythingVerified(t *testing.T) {
	s := newServer(t)
	a, b := join(t, "redis://"+s.addr), join(t, "redis://"+s.addr)
	s.registered(2)
	a.Changed(t.Context(), change("ac-alice"))
	for range 3 {
		s.do("DEL", streamKey)
		failures := b.Stats().Failures
		eventually(t, "b is back", func() bool {
			if b.Stats().Failures > failures {
				return b.Stats().Connected
			}
			s.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			return false
		})
	}
	eventually(t, "b has had everything verified", func() bool { return b.cache.verifications() > 0 })
	if n := b.cache.verifications(); n != 1 || b.Stats().Verified != 1 {
		t.Errorf("everything was verified %d times within a minute", n)
	}
}

// TestWhoeverCanOnlyWriteToRedisDropsNothing: forged, replayed, and nonsense.
func TestWhoeverCanOnlyWriteToRedisDropsNothing(t *testing.T) {
	s := newServer(t)
	a, b := join(t, "redis://"+s.addr), join(t, "redis://"+s.addr)
	s.registered(2)
	carol := blocklist.Target{Kind: blocklist.ByConsumer, Value: "carol"}
	a.Changed(t.Context(), change("ac-alice"))
	a.Blocked(t.Context(), []blocklist.Entry{{Target: carol, At: time.Now(), Lifted: true}})
	a.Blocked(t.Context(), []blocklist.Entry{{Target: carol, At: time.Now()}})

	all, err := s.raw.XRange(t.Context(), streamKey, "-", "+").Result()
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v", all, err)
	}
	for _, m := range all { // sent again, the lift of the block too
		s.do("XADD", streamKey, "*", fieldText, m.Values[fieldText], fieldSignature, m.Values[fieldSignature])
	}
	text := all[0].Values[fieldText].(string)
	another := newSigner(bytes.Repeat([]byte{1}, 32))
	for _, forged := range [][2]string{
		{strings.Replace(text, `"node":"`, `"node":"x`, 1), all[0].Values[fieldSignature].(string)},
		{text, ""}, {text, another.sign(purposeMessage, text)}, {"", ""},
		{text, b.signer.sign(purposeNode, text)},
	} {
		s.do("XADD", streamKey, "*", fieldText, forged[0], fieldSignature, forged[1])
	}
	s.do("XADD", streamKey, "*", "nonsense", "nonsense")
	s.do("HSET", nodesKey, "ghost", a.signer.sign(purposeMessage, "ghost 1 1-0")+" ghost 1 1-0")
	s.do("HSET", blocksKey, "nonsense", "nonsense")
	got := a.Changed(t.Context(), change("ac-last"))
	if got.Applied != 1 || len(got.Silent) != 0 {
		t.Errorf("%+v", got)
	}
	if n := b.cache.drops(store.ShortID("ac-alice")); n != 1 {
		t.Errorf("dropped %d times", n)
	}
	if !b.blocks.Consumer("id", "carol") {
		t.Error("a lift that was sent again has undone a later block")
	}
	// Three of a's own were sent again too, so b knows them once more.
	if st := b.Stats(); st.Forged != 6 || st.Replayed != 3 || st.Applied != 4 {
		t.Errorf("%+v", st)
	}
}

// TestOldMessagesAboutChangesAreIgnored, and their blocks are not.
func TestOldMessagesAboutChangesAreIgnored(t *testing.T) {
	s := newServer(t)
	a, b := join(t, "redis://"+s.addr), join(t, "redis://"+s.addr)
	s.registered(2)
	m := newMessage("c", time.Now().Add(-horizon-time.Minute))
	m.Credentials = []credential.ShortID{store.ShortID("ac-alice")}
	m.Blocks = []blocklist.Entry{{Target: blocklist.Target{Kind: blocklist.ByConsumer, Value: "carol"}, At: m.At}}
	text, signature, err := a.signer.encode(m)
	if err != nil {
		t.Fatal(err)
	}
	s.do("XADD", streamKey, "*", fieldText, text, fieldSignature, signature)
	if got := a.Changed(t.Context(), change("ac-last")); got.Applied != 1 {
		t.Errorf("%+v", got)
	}
	if b.cache.drops(store.ShortID("ac-alice")) != 0 || b.Stats().Stale != 1 || !b.blocks.Consumer("id", "carol") {
		t.Errorf("%+v", b.Stats())
	}
}

// TestUserWithFewRightsIsEnough: those that the documents name.
func TestUserWithFewRightsIsEnough(t *testing.T) {
	s := newServer(t, "user default on nopass ~* &* +@all", "user vault-auth on >s3cret-of-redis "+rights(t))
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret-of-redis\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, b := join(t, "redis://vault-auth@"+s.addr, PasswordVariable, file), join(t, "redis://vault-auth:s3cret-of-redis@"+s.addr)
	s.registered(2)
	if got := a.Changed(t.Context(), change("ac-alice")); got.Applied != 1 {
		t.Errorf("%+v", got)
	}
	b.stop()
	s.registered(1)
	wrong := begin(t, "redis://vault-auth:wrong@"+s.addr)
	eventually(t, "a wrong password is reported", func() bool { return strings.Contains(wrong.log.String(), "WRONGPASS") })
	for _, m := range []*member{a, b, wrong} {
		if strings.Contains(m.log.String(), "s3cret-of-redis") {
			t.Errorf("the password is in the log: %s", m.log)
		}
	}
}

// rights are those of the rule in docs/fleet.md.
func rights(t *testing.T) string {
	return strings.ReplaceAll(documented(t, "ACL SETUSER vault-auth on '>PASSWORD' ", "\n"), "'", "")
}

// clusterRights are those that it takes on a cluster beside these.
func clusterRights(t *testing.T) string { return documented(t, "(and `", "`") }

// documented is what stands between two texts in docs/fleet.md.
func documented(t *testing.T, before, after string) string {
	t.Helper()
	b, err := os.ReadFile("../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), before)
	text, _, ended := strings.Cut(rest, after)
	if !found || !ended {
		t.Fatalf("docs/fleet.md has nothing after %q", before)
	}
	return text
}

func TestAnotherKeyHearsNothing(t *testing.T) {
	s := newServer(t)
	other := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(other, []byte(strings.Repeat("0e", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	a, b := join(t, "redis://"+s.addr), join(t, "redis://"+s.addr, blocklist.KeyVariable, other)
	s.registered(2)
	if got := a.Changed(t.Context(), change("ac-alice")); got.Applied != 0 || len(got.Silent) != 0 {
		t.Errorf("%+v", got)
	}
	eventually(t, "b says so", func() bool { return b.Stats().Forged > 0 })
	if b.cache.drops(store.ShortID("ac-alice")) != 0 || !strings.Contains(b.log.String(), "not signed with this fleet's key") {
		t.Errorf("%s", b.log)
	}
}

// TestFilesThatCannotBeUsedAreNamed, and nobody is sent to look at Redis.
func TestFilesThatCannotBeUsedAreNamed(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		url  string
		env  []string
		says string
	}{
		"key":                 {"redis://127.0.0.1:1", []string{blocklist.KeyVariable, bad}, bad + " holds no key of 32 bytes"},
		"no key":              {"redis://127.0.0.1:1", []string{blocklist.KeyVariable, bad + "-too"}, bad + "-too: no such file"},
		"CA":                  {"rediss://127.0.0.1:1", []string{CAVariable, bad}, bad + " holds no certificate in PEM"},
		"Sentinel's password": {"redis://127.0.0.1:1?master=m", []string{SentinelPasswordVariable, bad + "-too"}, bad + "-too: no such file"},
	} {
		m := begin(t, tt.url, tt.env...)
		eventually(t, name+" is reported", func() bool { return strings.Contains(m.log.String(), tt.says) })
		if strings.Contains(m.log.String(), "Redis can't be reached") {
			t.Errorf("%s: %s", name, m.log)
		}
	}
}

func TestSettings(t *testing.T) {
	for text, want := range map[string]*Settings{
		"redis://r":                       {addrs: []string{"r:6379"}},
		"rediss://u:p@r:1/2":              {addrs: []string{"r:1"}, tls: true, user: "u", secret: "p", db: 2},
		"rediss://u@a:1,b:6379":           {addrs: []string{"a:1", "b:6379"}, tls: true, user: "u", cluster: true},
		"redis://a?cluster=true":          {addrs: []string{"a:6379"}, cluster: true},
		"redis://a,b:2/1?master=mymaster": {addrs: []string{"a:26379", "b:2"}, master: "mymaster", db: 1},
		"redis://[::1]:7":                 {addrs: []string{"[::1]:7"}},
		"http://r":                        nil, "r:6379": nil, "redis://": nil, "redis://r/x": nil, "redis://a,b/1": nil, "redis://r?x=1": nil,
		"redis://u:s3cret@r:port": nil,
	} {
		got, err := parseURL(text)
		if (err == nil) != (want != nil) || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(Settings{})); diff != "" {
			t.Errorf("%s:\n%s", text, diff)
		}
	}
	for _, tt := range []struct {
		env  map[string]string
		says string
	}{
		{map[string]string{}, ""},
		{map[string]string{URLVariable: "redis://r"}, blocklist.KeyVariable},
		{map[string]string{URLVariable: "nonsense"}, URLVariable},
		{map[string]string{URLVariable: "redis://u:p@r", blocklist.KeyVariable: "/k", PasswordVariable: "/p"}, PasswordVariable},
		{map[string]string{URLVariable: "redis://r", blocklist.KeyVariable: "/k", CAVariable: "/ca"}, CAVariable},
		{map[string]string{URLVariable: "redis://r,s", blocklist.KeyVariable: "/k", SentinelPasswordVariable: "/p"}, SentinelPasswordVariable},
		{map[string]string{URLVariable: "redis://r?master=m", blocklist.KeyVariable: "/k", SentinelPasswordVariable: "/p"}, ""},
	} {
		_, err := ParseSettings(func(name string) string { return tt.env[name] })
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("%v: %v", tt.env, err)
		}
	}
	for text, want := range map[string]bool{"redis://127.0.0.1": false, "redis://localhost": false, "rediss://r": false, "redis://r": true, "redis://127.0.0.1,10.0.0.1": true} {
		if s, err := parseURL(text); err != nil || s.Plain() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// FuzzMessage: whatever is in the stream, nothing that isn't signed is taken from it.
func FuzzMessage(f *testing.F) {
	s := newSigner(bytes.Repeat([]byte{0x0f}, 32))
	m := newMessage("a", time.Unix(1, 0))
	m.Credentials = []credential.ShortID{store.ShortID("ac-alice")}
	text, signature, err := s.encode(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text, signature, false)
	f.Add(text, "", true)
	f.Add(`{"credentials":["x"]}`, "", true)
	f.Add("", "", true)
	f.Fuzz(func(t *testing.T, text, signature string, sign bool) {
		genuine := signature == s.sign(purposeMessage, text)
		if sign {
			genuine, signature = true, s.sign(purposeMessage, text)
		}
		if m, err := s.decode(text, signature); err == nil && (!genuine || len(m.Credentials) > maxChanges) {
			t.Errorf("%+v", m)
		}
	})
}
