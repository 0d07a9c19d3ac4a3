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
// A lookup has three outcomes. It found a record. Or the store said a definite
// no, which is an error that matches [ErrAbsent]. Or it failed, which is every
// other error: the store could not say. Everything here rests on a lookup
// telling the last two apart.
//
// # What Get answers
//
// The age of an entry counts from the start of the lookup that read it, on the
// monotonic or the wall clock, whichever has moved further. Its ttl is the
// record's own, capped by the policy, or else the policy's. The policy is that
// of the Get at hand: callers that share a cache may differ in it.
//
//	age                   the store     Get answers                     lookups
//	up to 70-80 % of ttl                from memory                     none
//	up to ttl                           from memory                     one, in the background
//	past ttl              answers       with a lookup's answer; the     one, shared
//	                                    old one after 250 ms
//	past ttl, up to       is failing    from memory at once             probes, in the background
//	ttl + resurrect_ttl
//	later, or no entry    is failing    *UnavailableError at once       probes
//	no entry              answers       with a lookup's answer          one, shared
//	a definite no                       ErrAbsent, and the entry is     none for neg_ttl
//	                                    gone for good
//	value not accepted    answers       after one more lookup: the new  one a second per key
//	                                    value, or ErrRefused
//
// [Found.Expires] ends an entry whatever the table says.
//
// # What keeps it safe
//
//   - A definite no ends an entry. No outage brings it back.
//   - [Cache.Invalidate], [Cache.Refresh] and [Cache.Retain] outrun lookups that
//     began before them: such a lookup's answer is not stored, and who waited
//     for it waits for a new one.
//   - Only failures of the store open the pause between probes. A definite no or
//     a panic concerns one key.
//   - One budget covers all lookups (see budget.go); what strangers can cause
//     comes last in it, and one [Claim.Source] gets at most a tenth of it.
//   - Definite answers that would empty the cache are not believed before they
//     are verified (see guard.go).
//   - Lookups run on a context of the cache's own, so a client that goes away
//     fails nobody else, and a lookup that panics is an error for who waits.
//
// A Get that is answered from a fresh entry takes no lock and allocates
// nothing. Everything else goes through one mutex.
package cache
