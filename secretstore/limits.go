package secretstore

import "time"

// Seconds is a duration as Kong's configuration writes it: a number of
// seconds, fractions allowed.
type Seconds float64

// Duration is the same as Go has it.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

// Limits are the settings that both kinds of vault object share. They are not
// part of a store's identity: editing them never empties its cache.
type Limits struct {
	TTL                 Seconds `json:"ttl" kong:"default=60;between=0,1e8" doc:"Seconds a credential is served from memory before it is read again, unless its record says otherwise. 0 means max_ttl."`
	MaxTTL              Seconds `json:"max_ttl" kong:"default=3600;between=1,1e8" doc:"Cap, in seconds, on the ttl that a record may ask for."`
	NegTTL              Seconds `json:"neg_ttl" kong:"default=5;between=0,1e8" doc:"Seconds for which an unknown access token is remembered as unknown."`
	ResurrectTTL        Seconds `json:"resurrect_ttl" kong:"default=3600;between=0,1e8" doc:"Seconds past its ttl for which a credential is still honoured while the store can't answer."`
	ResurrectDeniedTTL  Seconds `json:"resurrect_denied_ttl" kong:"default=300;between=0,1e8" doc:"The same where the store answers, and refuses this login, or all that it asks for: a token was revoked, a policy, role or secret id taken away. The smaller of the two counts."`
	MaxLookupsPerSecond int     `json:"max_lookups_per_second" kong:"default=100;between=1,100000" doc:"Budget of lookups per store that find nothing; a lookup that finds a record returns its permit."`
	RevocationInterval  Seconds `json:"revocation_interval" kong:"default=0;between=0,1e8" doc:"Seconds between listings of the store, by which credentials that are gone are dropped before their ttl has passed. 0 means off."`
	SnapshotFile        string  `json:"snapshot_file" doc:"File that keeps what is cached, sealed, for a start while the store can't answer. Only on objects that the node defines."`
	SnapshotKeyFile     string  `json:"snapshot_key_file" doc:"File, in another folder, that holds the 32 bytes that seal it, in base64 or hex. Only on objects that the node defines."`
	Base64Decode        bool    `json:"base64_decode" doc:"Decode the stored secret token (hcv) or the stored value (azure) from base64 before use."`
}

// Common is the limits themselves: what embeds them has it as a part of Config.
func (l *Limits) Common() *Limits { return l }
