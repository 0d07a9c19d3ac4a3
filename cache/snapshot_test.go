package cache

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestSnapshotBringsRecordsBack(t *testing.T) {
	bubble(t, func(r *rig) {
		want := Item[string]{
			Key: "k", Name: "k",
			Found:  Found[string]{Value: "s", TTL: time.Minute, Expires: time.Now().Add(time.Hour)},
			ReadAt: time.Now(),
		}
		r.set(func() { r.secrets["k"] = want.Found })
		r.get("k", "s")
		var got []Item[string]
		for item := range r.All() {
			got = append(got, item)
		}
		if diff := cmp.Diff([]Item[string]{want}, got); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestRestoredRecordIsForOutages(t *testing.T) {
	item := func(age time.Duration) Item[string] {
		return Item[string]{Key: "k", Name: "k", Found: Found[string]{Value: "s"}, ReadAt: time.Now().Add(-age)}
	}
	t.Run("answered with while the store fails, up to its resurrect_ttl", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.outage(errDown)
			if !r.Restore(item(1000*time.Second), r.p) {
				t.Error("was not restored")
			}
			r.want(r.get("k", "s"), answer{"s resurrected", 0})
			time.Sleep(100 * time.Second)
			r.want(r.get("k", "s"), answer{"unavailable for 1s: connection refused", 0})
		})
	})
	t.Run("verified if the store answers", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.Restore(item(time.Second), r.p)
			r.want(r.get("k", "s"), answer{"absent", 0})
		})
	})
	t.Run("not past its end", func(t *testing.T) {
		bubble(t, func(r *rig) {
			ended := item(2 * time.Second)
			ended.Expires = time.Now().Add(-time.Second)
			if r.Restore(ended, r.p) {
				t.Error("was restored")
			}
		})
	})
	t.Run("not if there is a newer one", func(t *testing.T) {
		bubble(t, func(r *rig) {
			r.load("k", "new")
			if r.Restore(item(time.Second), r.p) {
				t.Error("was restored")
			}
			r.want(r.get("k", "new"), answer{"new fresh", 0})
		})
	})
	t.Run("not once the store denies it, however many that are", func(t *testing.T) {
		bubble(t, func(r *rig) {
			for i := range 30 {
				k := fmt.Sprint(i)
				r.Restore(Item[string]{Key: k, Name: k, Found: Found[string]{Value: "s"}, ReadAt: time.Now().Add(-time.Second)}, r.p)
			}
			for i := range 30 {
				r.want(r.get(fmt.Sprint(i), "s"), answer{"absent", 0})
			}
		})
	})
	for name, age := range map[string]time.Duration{"too old": 1100 * time.Second, "from the future": -time.Second} {
		t.Run("not if "+name, func(t *testing.T) {
			bubble(t, func(r *rig) {
				if r.Restore(item(age), r.p) {
					t.Error("was restored")
				}
			})
		})
	}
}
