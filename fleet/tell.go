package fleet

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/clock"
	"kong-vault-auth/vault"
)

const (
	// patience is how long a change waits for other nodes to have applied it.
	patience = time.Second
	// aliveFor is how long after its heartbeat a node counts as running.
	aliveFor  = 15 * time.Second
	beatEvery = 2 * time.Second
	maxOutbox = 1000
	// recentFor is for how long a message that Redis has accepted may still get lost: a
	// replica may take over before it has the message.
	recentFor = 10 * time.Minute
)

// sent is a message that Redis has accepted.
type sent struct {
	message
	entry string // its id in the stream
	when  time.Time
}

// Reach says which other nodes have applied a change.
type Reach struct {
	Connected bool     `json:"connected"`        // Redis has accepted the message
	Applied   int      `json:"applied"`          // how many other nodes have applied it
	Silent    []string `json:"silent,omitempty"` // running nodes that have not confirmed it within a second
}

// Changed tells the other nodes of changes, and waits for them for a second at most.
func (n *Node) Changed(ctx context.Context, c vault.Changes) Reach {
	m := newMessage(n.name, time.Now())
	m.Credentials, m.Stores, m.Placed = slices.Collect(maps.Keys(c.Credentials)), slices.Collect(maps.Keys(c.Stores)), slices.Collect(maps.Keys(c.Placed))
	return n.tell(ctx, m)
}

// Blocked tells the other nodes of blocks, as Changed does.
func (n *Node) Blocked(ctx context.Context, entries []blocklist.Entry) Reach {
	m := newMessage(n.name, time.Now())
	m.Blocks = entries
	return n.tell(ctx, m)
}

func (n *Node) tell(ctx context.Context, m message) Reach {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	n.mu.Lock()
	connected := n.connected
	n.mu.Unlock()
	if !connected {
		n.keep(m)
		return Reach{}
	}
	id, err := n.send(ctx, m)
	if err != nil {
		n.keep(m)
		return Reach{}
	}
	return n.await(ctx, id)
}

// keep keeps a message until Redis is back.
func (n *Node) keep(m message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.done != nil && len(n.outbox) < maxOutbox {
		n.outbox = append(n.outbox, m)
	}
}

// flush sends what was kept.
func (n *Node) flush(ctx context.Context) error {
	for {
		n.mu.Lock()
		if len(n.outbox) == 0 {
			n.mu.Unlock()
			return nil
		}
		m := n.outbox[0]
		n.mu.Unlock()
		if _, err := n.send(ctx, m); err != nil {
			return err
		}
		n.mu.Lock()
		n.outbox = n.outbox[1:]
		n.mu.Unlock()
	}
}

// send adds a message to the stream, and its blocks to those that are kept.
func (n *Node) send(ctx context.Context, m message) (id string, err error) {
	text, signature, err := n.signer.encode(m)
	if err != nil {
		return "", err
	}
	n.mu.Lock()
	if _, known := n.seen[m.ID]; !known {
		n.remember(m.ID) // this node reads it in the stream too
	}
	n.mu.Unlock()
	for _, e := range m.Blocks {
		one := newMessage(n.name, m.At)
		one.Blocks = []blocklist.Entry{e}
		text, signature, err := n.signer.encode(one)
		if err != nil {
			return "", err
		}
		if err := n.client.HSet(ctx, blocksKey, string(e.Kind)+" "+e.Value, signature+" "+text).Err(); err != nil {
			return "", err
		}
	}
	id, err = n.client.XAdd(ctx, &redis.XAddArgs{
		Stream: streamKey, MaxLen: maxStream, Approx: true, Values: []string{fieldText, text, fieldSignature, signature},
	}).Result()
	if err == nil {
		n.taken(sent{m, id, time.Now()})
	}
	return id, err
}

// taken remembers a message that Redis has accepted.
func (n *Node) taken(s sent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Sent++
	n.recent = append(n.recent, s)
	old := len(n.recent) - maxOutbox
	n.recent = slices.DeleteFunc(n.recent, func(s sent) bool {
		old--
		return old >= 0 || time.Since(s.when) > recentFor
	})
}

// keepLost sends this node's messages again that Redis had accepted and has lost. Other
// nodes recognise those that they have read.
func (n *Node) keepLost(ctx context.Context) error {
	n.mu.Lock()
	recent := slices.Clone(n.recent)
	n.mu.Unlock()
	for _, s := range recent {
		there, err := n.client.XRange(ctx, streamKey, s.entry, s.entry).Result()
		if err != nil {
			return err
		}
		if len(there) > 0 && n.is(there[0], s.message) {
			continue
		}
		n.mu.Lock()
		n.recent = slices.DeleteFunc(n.recent, func(r sent) bool { return r.entry == s.entry })
		n.mu.Unlock()
		n.keep(s.message)
	}
	return nil
}

// is reports whether an entry of the stream is the message.
func (n *Node) is(e redis.XMessage, m message) bool {
	text, _ := e.Values[fieldText].(string)
	signature, _ := e.Values[fieldSignature].(string)
	got, err := n.signer.decode(text, signature)
	return err == nil && got.ID == m.ID
}

// heartbeat tells the other nodes that this one is running, and which entry it has read last.
func (n *Node) heartbeat(ctx context.Context) error {
	if time.Since(n.beat) < beatEvery {
		return nil
	}
	n.beat = time.Now()
	text := n.name + " " + strconv.FormatInt(n.beat.UnixMilli(), 10) + " " + n.last
	return n.client.HSet(ctx, nodesKey, n.name, n.signer.sign(purposeNode, text)+" "+text).Err()
}

// await waits until all running nodes have applied the entry.
func (n *Node) await(ctx context.Context, id string) Reach {
	deadline, pause := time.Now().Add(patience), 2*time.Millisecond
	for {
		r, err := n.ask(ctx, id)
		over := time.Now().After(deadline) || ctx.Err() != nil
		switch {
		case err != nil && over:
			return Reach{} // Redis has the message, and can't say who has read it
		case over || err == nil && len(r.Silent) == 0:
			return r
		}
		clock.Sleep(ctx, pause)
		pause = min(2*pause, 100*time.Millisecond)
	}
}

// ask reads which entry the other nodes have read last.
func (n *Node) ask(ctx context.Context, id string) (r Reach, err error) {
	r.Connected = true
	nodes, err := n.client.HGetAll(ctx, nodesKey).Result()
	for _, value := range nodes {
		signature, text, _ := strings.Cut(value, " ")
		name, rest, _ := strings.Cut(text, " ")
		beat, applied, ok := strings.Cut(rest, " ")
		ms, parseErr := strconv.ParseInt(beat, 10, 64)
		if !ok || parseErr != nil || name == n.name || !n.signer.genuine(purposeNode, text, signature) || time.Since(time.UnixMilli(ms)).Abs() > aliveFor {
			continue
		}
		if !older(applied, id) {
			r.Applied++
		} else {
			r.Silent = append(r.Silent, name)
		}
	}
	slices.Sort(r.Silent)
	return r, err
}

// older reports whether the id of an entry comes before another.
func older(a, b string) bool {
	am, as := parts(a)
	bm, bs := parts(b)
	return am < bm || am == bm && as < bs
}

func parts(id string) (ms, sequence uint64) {
	m, s, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(m, 10, 64)
	sequence, _ = strconv.ParseUint(s, 10, 64)
	return ms, sequence
}
