package cache

import "time"

// What a Policy's zero fields stand for.
const (
	DefaultLookupsPerSecond = 100
	DefaultLookupTimeout    = 2 * time.Second
	DefaultStalePatience    = 250 * time.Millisecond
)

// Policy is what one caller wants of the cache. It is given with each Get,
// because callers that share a cache may differ in it.
type Policy struct {
	// TTL is how long a record that doesn't say so itself is answered from
	// memory. 0 means MaxTTL.
	TTL time.Duration
	// MaxTTL caps the ttl that a record asks for. 0 means that this is ignored, and TTL
	// holds for all.
	MaxTTL time.Duration
	// NegTTL is how long a negative answer is remembered, and a refused claim. 0 means
	// not at all.
	NegTTL time.Duration
	// ResurrectTTL is how long past its ttl a record is still answered with
	// while the store can't say. 0 means not at all.
	ResurrectTTL time.Duration
	// ResurrectDeniedTTL takes the place of a longer ResurrectTTL while the store
	// answers, and denies everything.
	ResurrectDeniedTTL time.Duration
	// LookupsPerSecond is the rate of permits, which bounds the lookups that find
	// nothing. 0 means DefaultLookupsPerSecond. The cache has one rate, that of the
	// latest Get that needed a lookup.
	LookupsPerSecond int
	// LookupTimeout is the lookup deadline: how long a lookup may take, and how
	// long a Get waits in all. 0 means DefaultLookupTimeout.
	LookupTimeout time.Duration
	// StalePatience is how long a Get that has a stale record waits for a lookup before
	// it answers with that. 0 means DefaultStalePatience.
	StalePatience time.Duration
}

func (p Policy) withDefaults() Policy {
	if p.LookupsPerSecond <= 0 {
		p.LookupsPerSecond = DefaultLookupsPerSecond
	}
	if p.LookupTimeout <= 0 {
		p.LookupTimeout = DefaultLookupTimeout
	}
	if p.StalePatience <= 0 {
		p.StalePatience = DefaultStalePatience
	}
	return p
}

// ttl is the ttl of a record that asks for own (0: it doesn't ask).
func (p *Policy) ttl(own time.Duration) time.Duration {
	switch {
	case own > 0 && p.MaxTTL > 0:
		return min(own, p.MaxTTL)
	case p.TTL > 0:
		return p.TTL
	default:
		return p.MaxTTL
	}
}

// resurrect is how long past its ttl a record may be answered with, where the
// store can't say, or denies everything.
func (p *Policy) resurrect(denied bool) time.Duration {
	if denied {
		return min(p.ResurrectTTL, p.ResurrectDeniedTTL)
	}
	return p.ResurrectTTL
}

// longest is how long a record can be of use under this policy.
func (p *Policy) longest() time.Duration {
	return max(p.TTL, p.MaxTTL) + p.ResurrectTTL
}
