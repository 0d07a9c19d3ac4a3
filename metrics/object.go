package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"kong-vault-auth/vault"
)

// objectMetric is a metric of each open store.
type objectMetric struct {
	metric
	// read returns values by the metric's third label. The key is empty for a metric
	// without one.
	read func(*vault.Stats) map[string]float64
}

// object is a metric with one series for each open store.
func object(k kind, name, help string, read func(*vault.Stats) float64) objectMetric {
	return objectMetric{newMetric(k, name, help, "vault", "store"), func(s *vault.Stats) map[string]float64 {
		return map[string]float64{"": read(s)}
	}}
}

// counters are several series for each open store.
func counters(name, label, help string, read func(*vault.Stats) map[string]uint64) objectMetric {
	return objectMetric{newMetric(counter, name, help, "vault", "store", label), func(s *vault.Stats) map[string]float64 {
		values := map[string]float64{}
		for word, n := range read(s) {
			values[word] = float64(n)
		}
		return values
	}}
}

// moment is a Unix time. It is left out while it is not known.
func moment(name, help string, read func(*vault.Stats) time.Time) objectMetric {
	return objectMetric{newMetric(gauge, name, help, "vault", "store"), func(s *vault.Stats) map[string]float64 {
		t := read(s)
		if t.IsZero() {
			return nil
		}
		return map[string]float64{"": float64(t.UnixMilli()) / 1000}
	}}
}

var lookupDuration = newMetric(histogram, "lookup_duration_seconds", "How long the store took to answer a lookup, whatever the outcome.", "vault", "store")

var objectMetrics = []objectMetric{
	object(gauge, "store_failing", "1 from a failed lookup until one that doesn't fail, otherwise 0.", func(s *vault.Stats) float64 {
		if s.Cache.Failing {
			return 1
		}
		return 0
	}),
	moment("store_last_answer_timestamp_seconds", "When the store last answered a lookup.", func(s *vault.Stats) time.Time { return s.Cache.LastAnswer }),
	moment("store_held_until_timestamp_seconds", "During an outage: until when every credential that was fresh when it began is answered from memory.", func(s *vault.Stats) time.Time { return s.HeldUntil }),

	counters("cache_answers_total", "answer", "How pairs were answered: from a `fresh` record, one just `loaded`, one past its ttl (`resurrected`), or not: `absent`, `refused` (another secret), `limited`, `unavailable`, `error`.", func(s *vault.Stats) map[string]uint64 {
		c := &s.Cache
		return map[string]uint64{
			"fresh": c.Hits, "loaded": c.Loads, "resurrected": c.Resurrected, "absent": c.Absences, "refused": c.Refusals,
			"limited": c.Limited, "unavailable": c.Unavailable, "error": c.Errors,
		}
	}),
	object(gauge, "cached_credentials", "Credentials in memory.", func(s *vault.Stats) float64 { return float64(s.Cache.Entries) }),
	object(gauge, "cached_credentials_max", "How many credentials may be in memory: VAULT_AUTH_MAX_CREDENTIALS for each store.", func(s *vault.Stats) float64 { return float64(s.MaxCredentials) }),
	object(gauge, "cached_absent_tokens", "Access tokens remembered as unknown.", func(s *vault.Stats) float64 { return float64(s.Cache.Absent) }),
	object(gauge, "cached_refused_pairs", "Pairs remembered as wrong.", func(s *vault.Stats) float64 { return float64(s.Cache.Refused) }),
	object(gauge, "cached_credentials_in_doubt", "Credentials that are looked up again before they are dropped, because the store seems to have lost too many at once.", func(s *vault.Stats) float64 { return float64(s.Cache.InDoubt) }),
	object(counter, "cache_held_denials_total", "Denials that were verified before they were believed, because there were too many of them.", func(s *vault.Stats) float64 { return float64(s.Cache.Held) }),
	object(counter, "cache_dropped_total", "Credentials dropped because they are gone from the store, or were revoked.", func(s *vault.Stats) float64 { return float64(s.Cache.Dropped) }),
	object(counter, "cache_changed_total", "Credentials that a lookup found changed, mostly by rotation.", func(s *vault.Stats) float64 { return float64(s.Cache.Changed) }),
	object(counter, "cache_evicted_total", "Credentials evicted to make room for others.", func(s *vault.Stats) float64 { return float64(s.Cache.Evicted) }),

	counters("lookups_started_total", "order", "Lookups by their purpose, highest priority first: `refresh`, `expired`, `reread` (another secret), `never_seen`.", func(s *vault.Stats) map[string]uint64 {
		c := &s.Cache
		return map[string]uint64{"refresh": c.Refresh, "expired": c.Expired, "reread": c.Reread, "never_seen": c.NeverSeen}
	}),
	counters("lookups_total", "outcome", "Lookups that have ended: `found`, `not_found`, `failed`, `panicked`.", func(s *vault.Stats) map[string]uint64 {
		c := &s.Cache
		return map[string]uint64{"found": c.Found, "not_found": c.NotFound, "failed": c.Failed, "panicked": c.Panicked}
	}),
	object(counter, "lookups_superseded_total", "Lookups whose answer was discarded, because the record had changed meanwhile.", func(s *vault.Stats) float64 { return float64(s.Cache.Superseded) }),
	object(gauge, "lookups_in_flight", "Lookups in flight; 64 at most.", func(s *vault.Stats) float64 { return float64(s.Cache.InFlight) }),
	object(gauge, "lookups_waiting", "Lookups that wait for a permit; 1,000 at most.", func(s *vault.Stats) float64 { return float64(s.Cache.Waiting) }),

	object(gauge, "revocation_interval_seconds", "`revocation_interval`; 0 is off.", func(s *vault.Stats) float64 { return s.Revocation.Interval.Seconds() }),
	object(gauge, "revocation_effective_interval_seconds", "The effective interval between listings, given `revocation_interval` and the number of pages.", func(s *vault.Stats) float64 { return s.Revocation.Effective.Seconds() }),
	object(gauge, "revocation_listing_pages", "Pages of the last successful listing.", func(s *vault.Stats) float64 { return float64(s.Revocation.Pages) }),
	moment("revocation_last_listing_timestamp_seconds", "When the last successful listing began.", func(s *vault.Stats) time.Time { return s.Revocation.Last }),
	counters("revocation_listings_total", "outcome", "Listings: `ok`, `failed`.", func(s *vault.Stats) map[string]uint64 {
		return map[string]uint64{"ok": s.Revocation.Listed, "failed": s.Revocation.Failed}
	}),
	object(counter, "revocation_dropped_total", "Credentials dropped because they were missing from a listing.", func(s *vault.Stats) float64 { return float64(s.Revocation.Dropped) }),

	moment("snapshot_written_timestamp_seconds", "When the last snapshot was written, with `snapshot_file`.", func(s *vault.Stats) time.Time { return s.Snapshot }),
}

func collectObject(ch chan<- prometheus.Metric, s *vault.Stats) {
	store := strconv.Itoa(s.Store)
	for i := range objectMetrics {
		m := &objectMetrics[i]
		for word, value := range m.read(s) {
			labels := []string{s.Object, store, word}
			ch <- m.at(value, labels[:len(m.labels)]...)
		}
	}
	ch <- readTimes(s, store)
}

func readTimes(s *vault.Stats, store string) prometheus.Metric {
	count, buckets := uint64(0), map[float64]uint64{}
	for i, n := range s.Reads.Buckets {
		count += n
		if i < len(vault.ReadBounds) {
			buckets[vault.ReadBounds[i].Seconds()] = count
		}
	}
	return lookupDuration.valid(prometheus.NewConstHistogram(lookupDuration.desc, count, s.Reads.Sum.Seconds(), buckets, clean([]string{s.Object, store})...))
}
