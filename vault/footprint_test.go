package vault

import (
	"fmt"
	"runtime"
	"testing"

	"kong-vault-auth/credential"
)

// A million cached credentials, the cache's own needs included, have to fit in
// 512 MiB.
func TestFootprintOfACachedCredential(t *testing.T) {
	for form, secret := range map[string]credential.Secret{"plain": credential.PlainSecret("right"), "hashed": credential.HashedSecret("right")} {
		t.Run(form, func(t *testing.T) { checkFootprint(t, secret) })
	}
}

func checkFootprint(t *testing.T, secret credential.Secret) {
	const credentials, most = 20_000, 512 << 20 / 1_000_000
	stores := &fakeStores{}
	r := newRegistry(t, stores, &logbook{})
	o, _ := mustOpen(t, r, "plugin", inlineHCV(t, func(c *HCV) { c.MaxLookupsPerSecond = 100_000 }))
	store := stores.all()[0]
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range credentials {
		token := fmt.Sprintf("ac-%032d", i)
		store.put(credential.Record{
			AccessToken: token,
			Secret:      secret,
			Consumer:    credential.Consumer{ID: fmt.Sprintf("2ba4ba8a-4b3c-4c4f-9a0e-%012d", i)},
		})
		wantAccepted(t, o, token, "right")
		clear(store.records)
	}
	if each := (heap() - before) / credentials; each > most {
		t.Errorf("%d bytes for each credential, at most %d fit", each, most)
	}
}

func BenchmarkLookupOfACachedPair(b *testing.B) {
	stores := &fakeStores{records: someRecords()}
	r := NewRegistry(stores.kinds(), Options{Getenv: environ("KONG_VAULT_HCV_TOKEN", "hvs.one")})
	defer r.Close()
	o, release, err := r.Open("plugin", Config{Vault: "hcv"})
	if err != nil {
		b.Fatal(err)
	}
	defer release()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Lookup(b.Context(), "ac-alice", "right", nil); err != nil {
			b.Fatal(err)
		}
	}
}
