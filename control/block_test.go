package control

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/credential"
	"kong-vault-auth/unixsocket/sockettest"
)

func blocks(t testing.TB) *blocklist.List {
	dir := t.TempDir()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("0f", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	return blocklist.Open(filepath.Join(dir, "blocks"), key, slog.New(slog.DiscardHandler))
}

func TestBlocksAreInForceWhenTheCallHasReturned(t *testing.T) {
	path, list := filepath.Join(sockettest.Dir(t), "s"), blocks(t)
	start(t, path, (&Server{Objects: node(t), Blocks: list}).Handler(), &journal{})
	c, store := NewClient(path), credential.NewNaming("store")
	for name, tt := range map[string]struct {
		q  BlockRequest
		is func() bool
	}{
		"by token":       {BlockRequest{AccessToken: "ac-alice", For: 3600}, func() bool { return list.Credential(store, "ac-alice") }},
		"by fingerprint": {BlockRequest{Fingerprint: store.ShortID("ac-bob").String()}, func() bool { return list.Credential(store, "ac-bob") }},
		"by consumer":    {BlockRequest{Consumer: "carol"}, func() bool { return list.Consumer("id", "carol") }},
	} {
		before := tt.is()
		reach, err := c.Block(t.Context(), tt.q)
		if before || !tt.is() || err != nil || reach != (Reach{Here: true, Block: true}) {
			t.Errorf("%s: %v, then %v: %v, %v", name, before, tt.is(), reach, err)
		}
		all, err := c.Blocks(t.Context())
		if err != nil || len(all) != 1 || all[0].Until.IsZero() != (tt.q.For == 0) || strings.Contains(all[0].Value, "ac-") {
			t.Errorf("%s: %v, %v", name, all, err)
		}
		tt.q.Lift = true
		if _, err := c.Block(t.Context(), tt.q); err != nil || tt.is() {
			t.Errorf("%s: lifted, %v, and still blocked: %v", name, err, tt.is())
		}
	}
	if all, err := c.Blocks(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestWhatCannotBeBlockedIsRefused(t *testing.T) {
	h := (&Server{Objects: node(t), Blocks: blocks(t)}).Handler()
	for name, body := range map[string]string{
		"nothing":              `{}`,
		"two things":           `{"fingerprint":"0123456789ab","consumer":"carol"}`,
		"a malformed token":    `{"access_token":"secret thing"}`,
		"no fingerprint":       `{"fingerprint":"secret thing"}`,
		"an endless consumer":  `{"consumer":"` + strings.Repeat("secret thing", 100) + `"}`,
		"a time before now":    `{"consumer":"carol","for_seconds":-1}`,
		"a time beyond reason": `{"consumer":"carol","for_seconds":1e300}`,
	} {
		if w := post(h, pathBlock, body); w.Code != 400 || strings.Contains(w.Body.String(), "secret thing") {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func TestBlocksThatAreNotSetUp(t *testing.T) {
	c, _, _ := client(t)
	_, err1 := c.Block(t.Context(), BlockRequest{Consumer: "carol"})
	_, err2 := c.Blocks(t.Context())
	for _, err := range []error{err1, err2} {
		if err == nil || !strings.Contains(err.Error(), blocklist.FileVariable) || !strings.Contains(err.Error(), blocklist.KeyVariable) {
			t.Errorf("%v", err)
		}
	}
	if _, err := NewClient("/nobody").Block(t.Context(), BlockRequest{Consumer: "carol"}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("%v", err)
	}
}

// FuzzBlock: whatever is sent, nothing is blocked that can't be.
func FuzzBlock(f *testing.F) {
	list := blocks(f)
	h := (&Server{Objects: node(f), Blocks: list}).Handler()
	for _, seed := range []string{`{"access_token":"ac-alice"}`, `{"fingerprint":"0123456789ab","for_seconds":60}`, `{"consumer":"carol","lift":true}`, `{}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		if w := post(h, pathBlock, body); w.Code != 200 && w.Code != 400 && !strings.Contains(w.Body.String(), "too many blocks") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for _, e := range list.Entries() {
			if err := e.Check(time.Now()); err != nil {
				t.Errorf("%v: %v", e, err)
			}
		}
	})
}
