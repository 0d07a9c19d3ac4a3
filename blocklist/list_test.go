package blocklist

import (
	"bytes"
	"context"
	"encoding/hex"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/pluginserver/servertest"
)

// journal is a log that tests read.
type journal struct{ servertest.Buffer }

var start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// node is where lists are kept, and its time.
type node struct {
	*testing.T
	file, key string
	log       journal
	now       time.Time
}

func newNode(t *testing.T) *node {
	dir := t.TempDir()
	n := &node{T: t, file: filepath.Join(dir, "blocks"), key: filepath.Join(t.TempDir(), "key"), now: start}
	n.write(n.key, strings.Repeat("0f", 32), 0o600)
	return n
}

func (n *node) write(path, content string, mode os.FileMode) {
	n.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		n.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		n.Fatal(err)
	}
}

// open is a process of the node's.
func (n *node) open() *List {
	l := Open(n.file, n.key, slog.New(slog.NewTextHandler(&n.log, nil)))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = func() time.Time { return n.now }
	l.entries = map[Target]Entry{}
	if l.load() != nil {
		n.log.Write([]byte("again\n"))
	}
	return l
}

func (n *node) add(l *List, entries ...Entry) {
	n.Helper()
	if _, err := l.Add(entries...); err != nil {
		n.Fatal(err)
	}
}

var (
	store   = credential.NewNaming("store")
	other   = credential.NewNaming("other store")
	alice   = Entry{Target: Target{ByFingerprint, store.ShortID("ac-alice").String()}, At: start}
	carol   = Entry{Target: Target{ByConsumer, "carol"}, At: start}
	lengthy = strings.Repeat("x", credential.MaxAccessToken)
)

// token blocks an access token.
func token(n *node, l *List, accessToken string) Entry {
	n.Helper()
	target, err := l.Token(accessToken)
	if err != nil {
		n.Fatal(err)
	}
	return Entry{Target: target, At: n.now}
}

// blocked is which of these are, in words.
func blocked(l *List) string {
	var s []string
	for name, is := range map[string]bool{
		"alice": l.Credential(store, "ac-alice"), "alice elsewhere": l.Credential(other, "ac-alice"),
		"bob": l.Credential(store, "ac-bob"), "bob elsewhere": l.Credential(other, "ac-bob"), "lengthy": l.Credential(store, lengthy),
		"carol": l.Consumer("some-id", "carol"), "carol's id": l.Consumer("carol", "somebody"), "no name": l.Consumer("", ""),
	} {
		if is {
			s = append(s, name)
		}
	}
	slices.Sort(s)
	return strings.Join(s, ", ")
}

func (n *node) want(l *List, want string) {
	n.Helper()
	if got := blocked(l); got != want {
		n.Errorf("blocked are %q, want %q", got, want)
	}
}

func TestWhatEntriesBlock(t *testing.T) {
	n := newNode(t)
	l := n.open()
	n.want(l, "")
	n.add(l, alice)
	n.want(l, "alice")
	n.add(l, token(n, l, "ac-bob"), token(n, l, lengthy))
	n.want(l, "alice, bob, bob elsewhere, lengthy")
	n.add(l, carol)
	const all = "alice, bob, bob elsewhere, carol, carol's id, lengthy"
	n.want(l, all)
	n.want(n.open(), all)
	var none *List
	if none.Credential(store, "ac-alice") || none.Consumer("carol", "carol") {
		t.Error("a nil list blocks something")
	}
}

func TestBlocksEndOrAreLifted(t *testing.T) {
	n := newNode(t)
	l := n.open()
	hour, lift := alice, carol
	hour.Until = start.Add(time.Hour)
	n.add(l, hour, carol)
	n.now = start.Add(time.Hour - 1)
	n.want(l, "alice, carol, carol's id")
	n.now = start.Add(time.Hour)
	n.want(l, "carol, carol's id")
	lift.At, lift.Lifted = n.now, true
	n.add(l, lift)
	n.want(l, "")
	n.want(n.open(), "")
}

// The latest decision counts, in whatever order they arrive.
func TestOldMessagesChangeNothing(t *testing.T) {
	n := newNode(t)
	block, lift, again := alice, alice, alice
	lift.At, lift.Lifted = start.Add(time.Minute), true
	again.At = start.Add(2 * time.Minute)
	for name, tt := range map[string]struct {
		entries []Entry
		want    string
	}{
		"in order":                {[]Entry{block, lift}, ""},
		"the other way round":     {[]Entry{lift, block}, ""},
		"blocked again":           {[]Entry{block, lift, again}, "alice"},
		"and the lift replayed":   {[]Entry{block, lift, again, lift}, "alice"},
		"and the block replayed":  {[]Entry{block, lift, block}, ""},
		"at once, the block wins": {[]Entry{{Target: alice.Target, At: start, Lifted: true}, block}, "alice"},
		"and in the other order":  {[]Entry{block, {Target: alice.Target, At: start, Lifted: true}}, "alice"},
		"for good wins over once": {[]Entry{block, {Target: alice.Target, At: start, Until: start.Add(1)}}, "alice"},
	} {
		n := newNode(n.T)
		n.now = start.Add(time.Hour)
		l := n.open()
		for _, e := range tt.entries {
			n.add(l, e)
		}
		if got := blocked(l); got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestAddReturnsWhatIsNew(t *testing.T) {
	n := newNode(t)
	l := n.open()
	news, err := l.Add(alice, carol)
	if diff := cmp.Diff([]Entry{alice, carol}, news); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	later := alice
	later.At = start.Add(1)
	news, err = l.Add(alice, later, carol)
	if diff := cmp.Diff([]Entry{later}, news); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestListWithoutAFileIsInMemory(t *testing.T) {
	n := newNode(t)
	n.file = ""
	l := n.open()
	n.add(l, alice, token(n, l, "ac-bob"))
	n.want(l, "alice, bob, bob elsewhere")
	l.reload() // as when the key's file has changed
	n.want(l, "alice, bob, bob elsewhere")
	n.want(n.open(), "")
	if n.log.String() != "" || l.Problem() != nil {
		t.Errorf("%s, %v", n.log.String(), l.Problem())
	}
}

// What is lifted is remembered for longer than any message of before can live.
func TestEntriesThatBlockNothingAreForgottenInTheEnd(t *testing.T) {
	n := newNode(t)
	l := n.open()
	lift, hour := alice, carol
	lift.Lifted, hour.Until = true, start.Add(time.Hour)
	n.add(l, lift, hour)
	n.now = start.Add(keptFor)
	n.add(n.open(), Entry{Target: Target{ByConsumer, "dave"}, At: n.now})
	if got := len(n.open().Entries()); got != 3 {
		t.Errorf("%d entries after %s", got, keptFor)
	}
	n.now = start.Add(keptFor + 2*time.Hour)
	n.add(l, Entry{Target: Target{ByConsumer, "erin"}, At: n.now})
	if got := l.Entries(); len(got) != 2 || got[0].Value != "dave" {
		t.Errorf("%v", got)
	}
	if news, err := l.Add(lift); len(news) > 0 || err != nil {
		t.Errorf("it has come back: %v, %v", news, err)
	}
}

func TestFilesThatCannotBeTrusted(t *testing.T) {
	for name, spoil := range map[string]func(n *node){
		"a bit is another": func(n *node) {
			b, _ := os.ReadFile(n.file)
			b[len(b)-5] ^= 1
			n.write(n.file, string(b), 0o600)
		},
		"an entry is missing": func(n *node) {
			b, _ := os.ReadFile(n.file)
			lines := bytes.SplitAfter(b, []byte("\n"))
			n.write(n.file, string(lines[0])+string(lines[2]), 0o600)
		},
		"empty":                func(n *node) { n.write(n.file, "", 0o600) },
		"open to others":       func(n *node) { n.write(n.file, "", 0o644) },
		"too large":            func(n *node) { n.write(n.file, strings.Repeat("x", maxFile+1), 0o600) },
		"gone":                 func(n *node) { os.Remove(n.file) },
		"of another key":       func(n *node) { n.write(n.key, strings.Repeat("0e", 32), 0o600) },
		"its key open to all":  func(n *node) { n.write(n.key, strings.Repeat("0f", 32), 0o644) },
		"its key gone":         func(n *node) { os.Remove(n.key) },
		"signed, but nonsense": func(n *node) { n.signed(`{"kind":"everything"}`) },
		"signed, but a future": func(n *node) { n.signed(`{"kind":"consumer","value":"dave","at":"2126-01-01T00:00:00Z"}`) },
		"signed, no JSON":      func(n *node) { n.signed(`[`) },
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			l := n.open()
			n.add(l, alice, carol)
			spoil(n)
			l.reload()
			l.reload()
			n.want(l, "alice, carol, carol's id")
			if l.Problem() == nil || strings.Count(n.log.String(), "can't be read or isn't signed") != 1 {
				t.Errorf("%v: %s", l.Problem(), &n.log)
			}
			if strings.Contains(name, "key") {
				return
			}
			// Another block works, and fixes the file.
			n.now = start.Add(time.Minute)
			n.add(l, token(n, l, "ac-bob"))
			n.want(n.open(), "alice, bob, bob elsewhere, carol, carol's id")
			if l.Problem() != nil {
				t.Error(l.Problem())
			}
		})
	}
}

// signed writes a file that is signed with the key.
func (n *node) signed(body string) {
	keys, err := ReadKeys(n.key)
	if err != nil {
		n.Fatal(err)
	}
	b, err := keys.encode(nil)
	if err != nil || !bytes.HasPrefix(b, []byte(format)) {
		n.Fatal(err)
	}
	forged := newKeys(bytes.Repeat([]byte{0x0f}, 32))
	n.write(n.file, format+hex.EncodeToString(forged.signature([]byte(body)))+"\n"+body, 0o600)
}

// A process that doesn't know what was blocked must not write that nothing is.
func TestUnreadableListIsNotOverwrittenByWhoDoesNotKnowIt(t *testing.T) {
	n := newNode(t)
	n.add(n.open(), alice)
	n.write(n.file, "spoiled", 0o600)
	l := n.open()
	if _, err := l.Add(carol); err == nil || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("%v", err)
	}
	n.want(l, "carol, carol's id") // in force here all the same
	if b, err := os.ReadFile(n.file); string(b) != "spoiled" {
		t.Errorf("%q, %v", b, err)
	}
	if err := os.Remove(n.key); err != nil {
		t.Fatal(err)
	}
	if _, err := n.open().Token("ac-bob"); err == nil {
		t.Error("a token was digested without a key")
	}
}

func TestListsOfTwoProcessesAreOne(t *testing.T) {
	n := newNode(t)
	old, young := n.open(), n.open()
	n.add(old, alice)
	n.add(young, carol)
	n.want(young, "alice, carol, carol's id")
	old.reload()
	n.want(old, "alice, carol, carol's id")
}

func TestChangedFileIsNoticed(t *testing.T) {
	n := newNode(t)
	l := Open(n.file, n.key, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	defer done.Wait()
	defer cancel()
	done.Go(func() { l.Watch(ctx) })
	for _, change := range []struct {
		lift    bool
		blocked bool
	}{{false, true}, {true, false}} {
		e := alice
		e.At, e.Lifted = time.Now(), change.lift
		n.now = e.At
		n.add(n.open(), e)
		for l.Credential(store, "ac-alice") != change.blocked {
			if t.Context().Err() != nil {
				t.Fatal("it wasn't noticed")
			}
			runtime.Gosched()
		}
	}
}

func TestFileHoldsNoTokenAndIsOursAlone(t *testing.T) {
	n := newNode(t)
	l := n.open()
	n.add(l, token(n, l, "ac-bob"))
	b, err := os.ReadFile(n.file)
	if err != nil || bytes.Contains(b, []byte("ac-bob")) {
		t.Errorf("%s, %v", b, err)
	}
	if info, err := os.Stat(n.file); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// Without the key, nobody can try out which token it is.
	another := newKeys(bytes.Repeat([]byte{1}, 32))
	if target, err := another.Token("ac-bob"); err != nil || target == l.Entries()[0].Target {
		t.Error("the digest doesn't depend on the key")
	}
}

func TestListIsBounded(t *testing.T) {
	n := newNode(t)
	l := n.open()
	var many []Entry
	for i := range 8000 {
		many = append(many, Entry{Target: Target{ByConsumer, strings.Repeat("c", 100) + time.Duration(i).String()}, At: start})
	}
	if _, err := l.Add(many...); err == nil || !strings.Contains(err.Error(), "too many blocks") {
		t.Errorf("%v", err)
	}
}

func TestInvalidEntriesAreRefused(t *testing.T) {
	l := newNode(t).open()
	for name, e := range map[string]Entry{
		"no kind":               {At: start},
		"another kind":          {Target: Target{"planet", "x"}, At: start},
		"a token as it is":      {Target: Target{ByToken, "ac-alice"}, At: start},
		"a token's half digest": {Target: Target{ByToken, strings.Repeat("0f", 16)}, At: start},
		"no fingerprint":        {Target: Target{ByFingerprint, "ac-alice"}, At: start},
		"no consumer":           {Target: Target{ByConsumer, ""}, At: start},
		"a consumer of lines":   {Target: Target{ByConsumer, "a\nb"}, At: start},
		"a lengthy consumer":    {Target: Target{ByConsumer, strings.Repeat("x", 256)}, At: start},
		"no time":               {Target: carol.Target},
		"a future":              {Target: carol.Target, At: start.Add(maxAhead + 1)},
		"a lengthy label":       {Target: carol.Target, At: start, Label: strings.Repeat("x", 201)},
	} {
		if news, err := l.Add(carol, e); err == nil || len(news) > 0 {
			t.Errorf("%s: %v, %v", name, news, err)
		}
	}
	if got := l.Entries(); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

func TestSettings(t *testing.T) {
	for _, tt := range []struct{ file, key, says string }{
		{"", "", ""}, {"", "/key", ""}, {"/blocks", "/key", ""},
		{"/blocks", "", KeyVariable}, {"blocks", "/key", FileVariable},
	} {
		err := CheckSettings(func(name string) string { return map[string]string{FileVariable: tt.file, KeyVariable: tt.key}[name] })
		if (err == nil) != (tt.says == "") || err != nil && !strings.HasPrefix(err.Error(), tt.says) {
			t.Errorf("%q, %q: %v", tt.file, tt.key, err)
		}
	}
}

// FuzzFile: whatever a file holds, nothing that isn't signed is taken from it.
func FuzzFile(f *testing.F) {
	k := newKeys(bytes.Repeat([]byte{0x0f}, 32))
	b, err := k.encode([]Entry{alice, carol})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, false)
	f.Add([]byte(format+"00\n"), false)
	f.Add([]byte(`{"kind":"consumer","value":"dave","at":"2026-01-01T00:00:00Z"}`), true)
	f.Add([]byte(``), true)
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		genuine := bytes.Clone(b)
		if sign {
			genuine = append([]byte(format+hex.EncodeToString(k.signature(b))+"\n"), b...)
		}
		entries, err := k.decode(genuine, start)
		if err != nil {
			return
		}
		if again, err := k.encode(entries); err == nil && !sign && len(entries) > 0 && !bytes.Contains(again, []byte("carol")) {
			t.Errorf("unsigned entries were taken: %v", entries)
		}
		for _, e := range entries {
			if err := e.Check(start); err != nil {
				t.Errorf("%v: %v", e, err)
			}
		}
	})
}
