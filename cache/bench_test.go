package cache

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"
)

// record is about what a cached credential is: digests, ids and times, some 200
// bytes with its strings.
type record struct {
	ID, ConsumerID, Username string
	Secret, Previous         [32]byte
	TTL                      time.Duration
	Expires, PreviousExpires int64
}

func newRecord(i int) *record {
	return &record{
		ID:         fmt.Sprintf("%08d-a8b3-5bb8-8f15-0d3a5d4dcb9f", i),
		ConsumerID: fmt.Sprintf("%08d-46e4-4c4e-9a1e-6d1c8d6f9f1d", i),
	}
}

func key(i int) string { return fmt.Sprintf("%08d0123456789abcdefghijklmnopqr", i) }

// benchmarked are a cache of records, and otter alone with the same.
func benchmarked(tb testing.TB) (keys []string, c *Cache[*record], bare *otter.Cache[string, *record]) {
	const records = 10_000
	bare = otter.Must(&otter.Options[string, *record]{MaximumSize: DefaultMaxEntries})
	c = New(func(_ context.Context, key, _ string) (Found[*record], error) {
		r, _ := bare.GetIfPresent(key)
		return Found[*record]{Value: r}, nil
	}, Options[*record]{})
	tb.Cleanup(c.Close)
	for i := range records {
		keys = append(keys, key(i))
		bare.Set(keys[i], newRecord(i))
		if _, err := c.Get(tb.Context(), keys[i], keys[i], testPolicy, Claim[*record]{}); err != nil {
			tb.Fatal(err)
		}
	}
	return keys, c, bare
}

func TestHitAllocatesNothing(t *testing.T) {
	keys, c, _ := benchmarked(t)
	secret := t.Name()
	allocs := testing.AllocsPerRun(1000, func() {
		claim := Claim[*record]{
			Accept: func(r *record) bool { return r.Username != secret },
			Digest: func() [32]byte { return [32]byte{secret[0]} },
		}
		if r, err := c.Get(t.Context(), keys[0], keys[0], testPolicy, claim); err != nil || r.State != Fresh {
			t.Fatal(r, err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations, want none", allocs)
	}
}

func BenchmarkHit(b *testing.B) {
	keys, c, bare := benchmarked(b)
	ctx := b.Context()
	ways := []struct {
		name string
		get  func(key string) bool
	}{
		{"otter", func(key string) bool {
			_, ok := bare.GetIfPresent(key)
			return ok
		}},
		{"cache", func(key string) bool {
			_, err := c.Get(ctx, key, key, testPolicy, Claim[*record]{Accept: func(r *record) bool { return r != nil }})
			return err == nil
		}},
	}
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if !way.get(keys[i%len(keys)]) {
					b.Fatal("miss")
				}
			}
		})
		b.Run(way.name+"-parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					if !way.get(keys[i%len(keys)]) {
						b.Fatal("miss")
					}
				}
			})
		})
	}
}

// A miss is a Get that makes a lookup, here of a store that answers at once.
func BenchmarkMiss(b *testing.B) {
	keys, stored := make([]string, 1<<14), newRecord(0)
	for i := range keys {
		keys[i] = key(i)
	}
	p := testPolicy
	p.TTL, p.ResurrectTTL, p.NegTTL, p.LookupsPerSecond = 1, 0, 0, 1<<30 // nothing is remembered
	for name, found := range map[string]bool{"found": true, "absent": false} {
		b.Run(name, func(b *testing.B) {
			c := New(func(context.Context, string, string) (Found[*record], error) {
				if !found {
					return Found[*record]{}, ErrAbsent
				}
				return Found[*record]{Value: stored}, nil
			}, Options[*record]{})
			defer c.Close()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				k := keys[i%len(keys)]
				if _, err := c.Get(b.Context(), k, k, p, Claim[*record]{}); (err == nil) != found {
					b.Fatal(err)
				}
			}
			if n := c.Stats().Hits; n > 0 {
				b.Errorf("%d hits", n)
			}
		})
	}
}
