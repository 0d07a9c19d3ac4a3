// Package cache stands between requests and a secret store. It answers from
// memory where it may, asks the store where it must, and knows what to say when
// the store says no, says nothing, or says something incredible. It knows no
// vault: what it keeps is of any type V, and a [LookupFunc] reads the store.
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
// A lookup has one of three outcomes. It found a record. Or the store said a
// definite no, which is an error that matches [ErrAbsent]. Or it failed, which is
// every other error: the store could not say. Everything here rests on a
// LookupFunc that tells the last two apart.
//
// # What Get answers
//
//	record at hand         store    answer                            lookups
//	up to 70-80 % of ttl            from memory                       none
//	up to ttl                       from memory                       one, in the background
//	past ttl               answers  the lookup's, or after 250 ms     one, shared
//	                                from memory if resurrect_ttl
//	                                allows
//	past ttl, up to        fails    from memory, at once              probes, in the background
//	ttl + resurrect_ttl
//	none, or older         answers  the lookup's                      one, shared
//	none, or older         fails    *UnavailableError, at once        probes, of keys with a record
//	not accepted           answers  after one more lookup: the new    one a second and key
//	                                record, or ErrRefused
//	denied by the store             ErrAbsent, and the record is      none for neg_ttl
//	                                gone for good
//
// Age counts from the start of the lookup that read a record, on the monotonic
// or the wall clock, whichever has moved further. The ttl is the record's own,
// capped by the policy, or else the policy's. The [Policy] is that of the Get at
// hand: callers that share a cache may differ in it. [Found.Expires] ends a
// record whatever the table says.
//
// # Permits
//
// A lookup needs a permit. There are Policy.LookupsPerSecond new ones a second, and
// at most 64 lookups run at a time. Priority have records about to expire, then
// expired ones, then re-reads for claims that a record doesn't accept, then keys
// without a record. Only misses use permits up: a lookup that finds a record
// returns its permit, a re-read if the claim accepts what it found. So does a
// lookup of a record that is due, whatever comes of it. A failure that concerns
// one key is a miss. At most 1,000 lookups wait for a permit. A Get waits until its
// lookup deadline and then gets a [*LimitError].
//
// What strangers can cause, the last two kinds, is shared among sources (see
// [Claim.Source]): each gets at most a tenth of the permits. They take turns, and
// each lookup for nothing is a penalty for some seconds, with which a source is
// served after those that have less. When too many wait, a source with much of
// penalty and waiting lookups gives way.
//
// # Outages
//
// From a lookup that fails to the next that doesn't, the store is left alone but
// for one probe at a time, after pauses that grow from 250 ms to 5 s or to what
// the store asks for. The probe is of a key that has a record, if any has: a Get
// of another key waits for it, and then asks. Only failures do that: a definite no
// or a panic concerns its key alone, and so does a lookup that has hung through an
// outage and fails after others, begun later, were answered. A definite no counts
// in an outage as ever, and no outage brings back what it has ended.
//
// A failure may say that it is an answer to one key (see [LookupFunc]): neither a
// record nor a definite no, such as the page of a firewall before the store.
// Whoever knows a name that is answered so must not be able to make an outage of
// it. So it is at first that key's own, remembered for a second, and a control
// decides: the lookup of a key that is known to be good. The store is failing if
// two such keys fail, or the only one that there is, or, where none is known, two
// others. In the last two cases keys without a record are still asked for, since
// the next may be one that is found.
//
// # When the store says something incredible
//
// If a listing ([Cache.Retain]), or definite nos within 10 s, would end more than
// half of the cached records and more than ten, no (more) records are dropped
// before a lookup of each, two seconds later, has denied it.
//
// # What else can be relied on
//
//   - [Cache.Invalidate], [Cache.Refresh] and [Cache.Retain] outrun lookups that
//     began before: their answers are not stored, and who waited for one waits
//     for the next.
//   - Lookups run on a context of the cache's own: a client that goes away fails
//     nobody else. A lookup that panics is an error for all who wait.
//   - Everything is bounded: records, definite nos and refused claims each in a
//     space of their own, lookups, and who waits for them.
//   - A Get that is answered from a fresh record takes no lock and allocates
//     nothing, nor does it make its caller allocate the functions of its Claim.
package cache
