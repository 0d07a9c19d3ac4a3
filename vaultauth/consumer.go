package vaultauth

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"kong-vault-auth/clock"
	"kong-vault-auth/pluginserver"
)

// How long Kong's answer about a consumer is used. The next request then reads it again.
const (
	consumerFresh = 10 * time.Second
	consumerGone  = time.Second // for one that doesn't exist
	maxConsumers  = 100_000
)

// DefaultConsumerResurrectTTL is how long a known consumer is accepted while
// Kong's database can't say whether it still exists.
const DefaultConsumerResurrectTTL = time.Hour

// errConsumerGone says that Kong has no such consumer, or no longer has it.
var errConsumerGone = errors.New("the consumer does not exist")

// errDatabase says that Kong could not answer.
var errDatabase = errors.New("whether the consumer exists is unknown to Kong")

// reference names a consumer as a credential record does. Usernames are only
// unique within a workspace.
type reference struct{ workspace, id, username string }

func (ref reference) attr() slog.Attr {
	if ref.id != "" {
		return slog.String("consumer", ref.id)
	}
	return slog.String("consumer", ref.username)
}

// consumers remembers Kong's consumers, since every kong.client.load_consumer
// reads Kong's database. It outlives instances, and is safe for concurrent use.
//
//	          found                     after 10 s: read again
//	unknown ─────────▶ known: answered ─────────────────────┐
//	 │    ▲            from memory ◀────────────────────────┤ found, or Kong can't say
//	 │    │ after 1 s                                       │ (within resurrectTTL,
//	 │    │                                                 │ after that: 503)
//	 └──▶ gone: 401 ◀───────────────────────────────────────┘ gone
//
// If Kong can't say whether an unknown consumer exists, the answer is 503 and the consumer
// stays unknown. gone decides what an empty answer means, and databaseState when known
// consumers are not read again although it is time.
type consumers struct {
	known        *otter.Cache[reference, *knownConsumer]
	database     *databaseState
	resurrectTTL time.Duration
	now          func() clock.Instant
	log          *slog.Logger

	mu       sync.Mutex // guards the rest, and the replacing of what is known
	anyFound bool
	controls map[string][2]*knownConsumer // by workspace: the two found last, so that one of them isn't the consumer in question
}

// knownConsumer is what is known of one consumer. It is immutable.
type knownConsumer struct {
	ref      reference
	consumer *pluginserver.Consumer // nil: gone
	found    clock.Instant          // when the last read that found it began
	read     clock.Instant          // when the last read began
}

// consumerLoader is the part of pluginserver.Event that consumers need.
type consumerLoader interface {
	LoadConsumer(name string, byUsername bool) (*pluginserver.Consumer, error)
}

func newConsumers(resurrectTTL time.Duration, log *slog.Logger) *consumers {
	now := clock.System()
	return &consumers{
		known:        otter.Must(&otter.Options[reference, *knownConsumer]{MaximumSize: maxConsumers}),
		database:     newDatabaseState(now, log),
		resurrectTTL: resurrectTTL, now: now, log: log,
		controls: map[string][2]*knownConsumer{},
	}
}

// find returns a consumer, from memory if possible. It fails with errConsumerGone,
// errDatabase, or the error of the call to Kong.
func (cs *consumers) find(e consumerLoader, ref reference) (*pluginserver.Consumer, error) {
	k, ok := cs.known.GetIfPresent(ref)
	now := cs.now()
	if ok && k.fresh(now) {
		return cs.remembered(k, now)
	}
	if !ok || k.consumer == nil {
		if cs.database.isDown() {
			return cs.undecided(ref, nil, now, errUnreachable)
		}
		return cs.load(e, ref, nil)
	}
	end, may := cs.database.beginReread()
	if !may {
		return cs.remembered(k, now)
	}
	defer end()
	if latest, ok := cs.known.GetIfPresent(ref); ok && latest.fresh(now) { // another request has just read it
		return cs.remembered(latest, now)
	}
	return cs.load(e, ref, k)
}

func (k *knownConsumer) fresh(now clock.Instant) bool {
	age := now.Since(k.read)
	if k.consumer == nil {
		return age < consumerGone
	}
	return age < consumerFresh
}

// remembered is the answer from memory.
func (cs *consumers) remembered(k *knownConsumer, now clock.Instant) (*pluginserver.Consumer, error) {
	switch {
	case k.consumer == nil:
		return nil, errConsumerGone
	case now.Since(k.found) >= cs.resurrectTTL:
		return nil, errDatabase
	}
	return k.consumer, nil
}

// load reads a consumer. k is the one that was found before, nil for none.
func (cs *consumers) load(e consumerLoader, ref reference, k *knownConsumer) (*pluginserver.Consumer, error) {
	began := cs.now()
	c, err := cs.ask(e, ref)
	if err != nil {
		return nil, err
	}
	slow := cs.database.wasRead(cs.now().Mono-began.Mono, c != nil)
	if c != nil {
		cs.keep(&knownConsumer{ref, c, began, began})
		return c, nil
	}
	gone, why := false, errSlow
	if !slow {
		if gone, why, err = cs.gone(e, ref, k, began); err != nil {
			return nil, err
		}
	}
	if !gone {
		return cs.undecided(ref, k, began, why)
	}
	cs.log.Error("the record of a credential names a consumer that does not exist in Kong, or no longer, requests are answered 401: create the consumer, or correct the record, which credential list --consumer finds", "reason", "consumer_gone", ref.attr())
	cs.keep(&knownConsumer{ref: ref, read: began})
	return nil, errConsumerGone
}

// ask has Kong read a consumer; nil is its empty answer. Kong raises an error for
// an id that isn't a UUID, and tries a username as an id first.
func (cs *consumers) ask(e consumerLoader, ref reference) (*pluginserver.Consumer, error) {
	if ref.id != "" {
		return e.LoadConsumer(ref.id, false)
	}
	return e.LoadConsumer(ref.username, true)
}

// gone decides what an empty answer means, since Kong answers "not found" and
// "database error" alike. The consumer is gone if Kong's Status API says that the database
// is reachable. If the Status API can't be asked, a control decides: another consumer of
// the same workspace that Kong finds now shows that the database answers. As long as Kong
// has never found any consumer, a wrong name is likelier than an outage.
//
// If the consumer isn't gone, why says what seems to be wrong with Kong's database.
func (cs *consumers) gone(e consumerLoader, ref reference, k *knownConsumer, began clock.Instant) (gone bool, why, err error) {
	since := began
	if k == nil { // for an unknown consumer, a slightly older answer does no harm
		since.Mono -= statusFresh
	}
	reachable, why := cs.database.reachable(since.Mono)
	if why == nil || errors.Is(why, errUnreachable) {
		return reachable, why, nil
	}
	control, anyFound := cs.controlFor(ref, k)
	if !anyFound {
		return true, nil, nil
	}
	if control == nil {
		return false, why, nil
	}
	began = cs.now()
	c, err := cs.ask(e, control.ref)
	if err != nil || c == nil {
		return false, why, err
	}
	cs.keep(&knownConsumer{control.ref, c, began, began})
	return true, nil, nil
}

// undecided accepts a known consumer although Kong doesn't say that it still exists.
func (cs *consumers) undecided(ref reference, k *knownConsumer, began clock.Instant, why error) (*pluginserver.Consumer, error) {
	cs.log.Error("Kong could not say whether a consumer exists; known ones are accepted meanwhile", "reason", "consumer_unknown", ref.attr(), "err", why)
	if k == nil {
		return nil, errDatabase
	}
	k = cs.keep(&knownConsumer{ref, k.consumer, k.found, began})
	return cs.remembered(k, cs.now())
}

// keep replaces what was known, unless another request has a more recent
// answer. It returns what is known now.
func (cs *consumers) keep(k *knownConsumer) *knownConsumer {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if current, ok := cs.known.GetIfPresent(k.ref); ok && current.read.Mono > k.read.Mono {
		return current
	}
	cs.known.Set(k.ref, k)
	controls := cs.controls[k.ref.workspace]
	switch {
	case k.consumer == nil:
		for i, c := range controls {
			if c != nil && c.ref == k.ref {
				controls[i] = nil
			}
		}
	case controls[0] == nil || controls[0].ref == k.ref:
		controls[0] = k
	default:
		controls[0], controls[1] = k, controls[0]
	}
	cs.controls[k.ref.workspace] = controls
	cs.anyFound = cs.anyFound || k.consumer != nil
	return k
}

// controlFor returns another consumer of the workspace that was found recently, nil if
// there is none, and whether any consumer has ever been found.
func (cs *consumers) controlFor(ref reference, k *knownConsumer) (control *knownConsumer, anyFound bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, c := range cs.controls[ref.workspace] {
		another := c != nil && c.ref != ref && (k == nil || c.consumer.ID != k.consumer.ID)
		if another && cs.now().Since(c.found) < cs.resurrectTTL {
			return c, true
		}
	}
	return nil, cs.anyFound
}
