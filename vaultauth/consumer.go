package vaultauth

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"kong-vault-auth/pluginserver"
)

// How long what Kong says about a consumer is believed.
const (
	consumerFresh = 10 * time.Second // then it is read again behind the next answer
	consumerIdle  = time.Minute      // then it is read again before the next answer
	consumerGone  = time.Second      // how long a consumer is remembered as gone
	databaseDown  = 10 * time.Second // how long Kong's database is taken to be down
	maxConsumers  = 100_000
)

// DefaultConsumerResurrectTTL is how long a known consumer is honoured while
// Kong's database can't say whether it is still there.
const DefaultConsumerResurrectTTL = time.Hour

// errConsumerGone says that Kong has no such consumer (any more).
var errConsumerGone = errors.New("the consumer does not exist")

// errDatabase says that Kong could not tell.
var errDatabase = errors.New("whether the consumer exists can't be told: Kong's database may be down, or has no other consumer to tell by")

// reference names a consumer as a credential record does. Usernames are only
// unique within a workspace.
type reference struct{ workspace, id, username string }

// arg is a ConsumerSpec. Kong raises an error for an id that is no UUID, and
// tries a username as an id first.
func (ref reference) arg() []byte {
	if ref.id != "" {
		return pluginserver.AppendPart(nil, 1, ref.id)
	}
	return append(pluginserver.AppendPart(nil, 1, ref.username), 0x10, 1) // by_username
}

func (ref reference) attr() slog.Attr {
	if ref.id != "" {
		return slog.String("consumer", ref.id)
	}
	return slog.String("consumer", ref.username)
}

// consumer is a consumer of Kong's, in the forms in which it is sent back. It
// is immutable.
type consumer struct {
	id      string
	entity  []byte      // Kong's own message: tags, custom_id and created_at serve its logs
	headers []byte      // the identity headers, for kong.service.request.set_headers
	named   identitySet // which ones these are
}

// newConsumer returns the consumer of a reply to kong.client.load_consumer,
// nil if there is none in it.
func newConsumer(reply []byte) (*consumer, error) {
	id, err := pluginserver.Part(reply, 1)
	if err != nil || len(id) == 0 {
		return nil, err
	}
	headers, named, err := consumerHeaders(reply)
	if err != nil {
		return nil, err
	}
	return &consumer{id: string(id), entity: bytes.Clone(reply), headers: headers, named: named}, nil
}

// consumers remembers Kong's consumers, since every kong.client.load_consumer
// reads Kong's database. It outlives instances and is safe for concurrent use.
//
// Kong answers "not found" and "database error" alike, with nothing. So an
// empty answer means that a consumer is gone only when another one, the
// witness, is still found in the same event.
type consumers struct {
	known        *otter.Cache[reference, *knownConsumer]
	resurrectTTL time.Duration
	now          func() time.Time
	log          *slog.Logger
	downUntil    atomic.Int64 // Unix nanoseconds

	mu      sync.Mutex        // guards witness
	witness [2]*knownConsumer // the two found last, so that one of them is another
}

// knownConsumer is what is remembered of one consumer.
type knownConsumer struct {
	ref     reference
	found   atomic.Pointer[consumer] // nil: gone
	read    atomic.Int64             // when Kong last said so, Unix nanoseconds
	reading atomic.Bool
}

func newConsumers(resurrectTTL time.Duration, log *slog.Logger) *consumers {
	return &consumers{
		known:        otter.Must(&otter.Options[reference, *knownConsumer]{MaximumSize: maxConsumers}),
		resurrectTTL: resurrectTTL, now: time.Now, log: log,
	}
}

// find returns a consumer, from memory where it can. It fails with
// errConsumerGone or errDatabase, or with what kept Kong from answering.
func (cs *consumers) find(e *pluginserver.Event, ref reference) (*consumer, error) {
	k, ok := cs.known.GetIfPresent(ref)
	if !ok {
		return cs.load(e, &knownConsumer{ref: ref})
	}
	found, age := k.found.Load(), cs.age(k)
	switch {
	case found == nil && age < consumerGone:
		return nil, errConsumerGone
	case found == nil || age >= consumerIdle && !cs.down():
		return cs.load(e, k)
	case age >= cs.resurrectTTL:
		return nil, errDatabase
	case age >= consumerFresh && k.reading.CompareAndSwap(false, true):
		cs.refresh(e, k)
	}
	return found, nil
}

func (cs *consumers) age(k *knownConsumer) time.Duration {
	return time.Duration(cs.now().UnixNano() - k.read.Load())
}

func (cs *consumers) down() bool { return cs.now().UnixNano() < cs.downUntil.Load() }

// load asks Kong for a consumer, and for a witness in the same write, and
// waits.
func (cs *consumers) load(e *pluginserver.Event, k *knownConsumer) (*consumer, error) {
	e.Ask(methodLoadConsumer, k.ref.arg())
	witness := cs.witnessFor(k)
	if witness != nil {
		e.Ask(methodLoadConsumer, witness.ref.arg())
	}
	reply, err := e.Answer()
	if err != nil {
		return nil, err
	}
	var second []byte
	if witness != nil {
		if second, err = e.Answer(); err != nil {
			return nil, err
		}
	}
	return cs.heard(k, reply, witness, second)
}

// refresh has a consumer read again when this request has gone on.
func (cs *consumers) refresh(e *pluginserver.Event, k *knownConsumer) {
	witness := cs.witnessFor(k)
	var first []byte
	e.AskLater(methodLoadConsumer, k.ref.arg(), func(reply []byte) {
		if witness == nil {
			cs.refreshed(k, reply, nil, nil)
			return
		}
		first = reply
	})
	if witness != nil {
		e.AskLater(methodLoadConsumer, witness.ref.arg(), func(reply []byte) {
			cs.refreshed(k, first, witness, reply)
		})
	}
}

func (cs *consumers) refreshed(k *knownConsumer, reply []byte, witness *knownConsumer, second []byte) {
	defer k.reading.Store(false)
	// What can't be told now is told to the request that asks next.
	_, _ = cs.heard(k, reply, witness, second)
}

// heard takes Kong's answers about a consumer and its witness.
func (cs *consumers) heard(k *knownConsumer, reply []byte, witness *knownConsumer, second []byte) (*consumer, error) {
	seen := false
	if witness != nil {
		c, err := newConsumer(second)
		if err != nil {
			return nil, err
		}
		if seen = c != nil; seen {
			cs.keep(witness, c)
		}
	}
	c, err := newConsumer(reply)
	switch {
	case err != nil:
		return nil, err
	case c != nil:
		cs.keep(k, c)
		return c, nil
	case seen:
		cs.log.Warn("the consumer of a credential does not exist in Kong, requests are answered 401", "reason", "consumer_gone", k.ref.attr())
		cs.keep(k, nil)
		return nil, errConsumerGone
	}
	return cs.unknown(k)
}

// unknown is what to make of a consumer about which Kong says nothing.
func (cs *consumers) unknown(k *knownConsumer) (*consumer, error) {
	cs.downUntil.Store(cs.now().Add(databaseDown).UnixNano())
	cs.log.Error("Kong could not say whether a consumer exists, known ones are honoured meanwhile: check Kong's database, or whether the record names the right consumer", "reason", "consumer_unknown", k.ref.attr())
	if c := k.found.Load(); c != nil && cs.age(k) < cs.resurrectTTL {
		return c, nil
	}
	return nil, errDatabase
}

// keep remembers what Kong has said: a consumer, or nil for gone.
func (cs *consumers) keep(k *knownConsumer, c *consumer) {
	k.found.Store(c)
	k.read.Store(cs.now().UnixNano())
	k.reading.Store(false)
	cs.known.Set(k.ref, k)
	cs.downUntil.Store(0)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	switch {
	case c == nil:
		for i, w := range cs.witness {
			if w != nil && w.ref == k.ref {
				cs.witness[i] = nil
			}
		}
	case cs.witness[0] == nil || cs.witness[0].ref != k.ref:
		cs.witness[0], cs.witness[1] = k, cs.witness[0]
	}
}

// witnessFor returns another consumer that was found lately, nil if there is
// none.
func (cs *consumers) witnessFor(k *knownConsumer) *knownConsumer {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, w := range cs.witness {
		if w != nil && w.ref != k.ref && cs.age(w) < cs.resurrectTTL {
			if c, mine := w.found.Load(), k.found.Load(); c != nil && (mine == nil || c.id != mine.id) {
				return w
			}
		}
	}
	return nil
}

const methodLoadConsumer = "kong.client.load_consumer"
