// Package cache stands between requests and a secret store. It answers from memory
// where it may, asks the store where it must, and decides what to answer when the
// store denies a record, fails, or says something incredible. What it keeps is of any
// type V, and a [LookupFunc] reads the store.
//
//	c := cache.New(lookup, cache.Options{})
//	defer c.Close()
//	r, err := c.Get(ctx, key, name, policy, cache.Claim[Record]{
//		Accept: func(rec Record) bool { return rec.Proves(secret) },
//		Digest: func() [32]byte { return digestOf(secret) },
//	})
//
// # Outcomes
//
// A lookup has one of three outcomes: it found a record; or it got a negative
// answer, the store's definite no, which is an error that matches [ErrAbsent]; or
// it failed, which is every other error: the store could not say. Everything here
// rests on a LookupFunc that tells the last two apart.
//
// # The states of a record
//
//	┌──────── found ─────────┬──────────────────────┐
//	▼                        │                      │
//	current ── Refresh ──► outdated   Restore ──► restored
//	│  ▲                     │                      │
//	│  │ found               │                      │
//	▼  │                     ▼                      ▼
//	none ◄── negative answer, Invalidate, Retain, eviction
//
// A current record is fresh up to its ttl, an outdated or restored one never is:
//
//	age  0        70-80 % of ttl       ttl       ttl + resurrect_ttl
//	     ├─ fresh ─┼─ fresh, refreshed ─┼─ stale ─┼─ of no use ─►
//
// Age counts from the start of the lookup that read the record, on the monotonic or
// the wall clock, whichever has moved further. The ttl is the record's own, capped
// by the policy, or else the policy's. The [Policy] is that of the Get at hand:
// callers that share a cache may differ in it. [Found.Expires] ends a record in any
// state.
//
// # What Get answers
//
//	record at hand   store    answer                             lookups
//	fresh                     from memory                        none, or one in the background
//	stale            answers  the lookup's, or after 250 ms      one, shared
//	                          from memory
//	stale            fails    from memory, at once               probes, in the background
//	none, or of      answers  the lookup's                       one, shared
//	no use           fails    *UnavailableError, at once         probes, of keys with a record
//	not accepted     answers  after one more lookup: the new     one a second and key
//	                          record, or ErrRefused
//	none, after a             ErrAbsent                          none for neg_ttl
//	negative answer
//
// # Permits
//
// A lookup needs a permit. There are Policy.LookupsPerSecond new ones a second, and
// at most 64 lookups run at a time. Records about to expire have the highest
// priority, then expired ones, then re-reads for claims that a record doesn't
// accept, then keys without a record. Only misses use permits up: a lookup that
// finds a record returns its permit, a re-read if the claim accepts what it found.
// So does a lookup of a record that is due, whatever its outcome. A failure that
// concerns one key is a miss. At most 1,000 lookups wait for a permit. A Get waits
// until its lookup deadline and then gets a [*LimitError].
//
// Strangers can cause the last two kinds of lookups. One [Claim.Source] gets at most
// a tenth of the permits. Lookups that find nothing give it a penalty for some seconds:
// others are served first, and if too many lookups wait, it gives way.
//
// # Outages
//
// An outage lasts from a lookup that fails to the next that doesn't. Meanwhile the
// store is left alone except for one probe at a time, with a backoff from 250 ms to
// 5 s between them, or what the store asks for. The probe is of a key that has a
// record, if there is one: a Get of another key waits for it, and then asks. Only
// failures begin an outage. A negative answer or a panic concerns its key alone. So
// does a lookup that has hung through an outage and fails after others, begun later,
// were answered. A negative answer counts during an outage as well, and no outage
// brings back the record that it has ended.
//
// A failure may say that it is an answer to one key (see [LookupFunc]), such as the
// page of a firewall before the store. A client that knows a name that is answered
// so must not be able to cause an outage with it. So at first the failure is that
// key's own and is remembered for a second, and a control decides: the lookup of a
// key that is known to be good. The store is failing if two such keys fail, or the
// only one that there is, or, where none is known, two others. In the last two cases
// keys without a record are still looked up, since the next may be found.
//
// # When the store says something incredible
//
// If a listing ([Cache.Retain]), or negative answers within 10 s, would end more
// than half of the cached records and more than ten, no (more) records are dropped
// until a lookup of each, two seconds later, has denied it.
//
// # What else can be relied on
//
//   - [Cache.Invalidate], [Cache.Refresh] and [Cache.Retain] supersede lookups that
//     began before: their answers are not stored, and Gets that waited for one wait
//     for the next.
//   - Lookups run on a context of the cache's own: a client that goes away fails no
//     other. A lookup that panics is an error for all Gets that wait for it.
//   - Everything is bounded: records, negative answers and refused claims, each in a
//     space of their own, lookups, and the Gets that wait for them.
//   - A Get that is answered from a fresh record takes no lock and allocates
//     nothing, nor does it make its caller allocate the functions of its Claim.
package cache
