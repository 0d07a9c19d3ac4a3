package cache_test

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"time"

	"kong-vault-auth/cache"
)

func Example() {
	store := map[string][32]byte{"reader": sha256.Sum256([]byte("open sesame"))}
	lookup := func(_ context.Context, _, name string) (cache.Found[[32]byte], error) {
		digest, ok := store[name]
		if !ok {
			return cache.Found[[32]byte]{}, cache.ErrAbsent
		}
		return cache.Found[[32]byte]{Value: digest}, nil
	}
	c := cache.New(lookup, cache.Options[[32]byte]{})
	defer c.Close()

	policy := cache.Policy{TTL: time.Minute, NegTTL: 5 * time.Second, ResurrectTTL: time.Hour}
	for _, pair := range [][2]string{{"reader", "open sesame"}, {"reader", "open sesame"}, {"reader", "guess"}, {"writer", "guess"}} {
		digest := sha256.Sum256([]byte(pair[1]))
		r, err := c.Get(context.Background(), pair[0], pair[0], policy, cache.Claim[[32]byte]{
			Accept: func(want [32]byte) bool { return subtle.ConstantTimeCompare(want[:], digest[:]) == 1 },
			Digest: func() [32]byte { return digest },
		})
		if err != nil {
			fmt.Println(pair[0], err)
			continue
		}
		fmt.Println(pair[0], r.State)
	}
	// Output:
	// reader loaded
	// reader fresh
	// reader claim refused
	// writer absent from the store
}
