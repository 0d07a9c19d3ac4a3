package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/clock"
	"kong-vault-auth/credential"
	"kong-vault-auth/vault"
)

// beginning is the id before the first entry of the stream.
const beginning = "0-0"

// startOf is the id before all entries of a time.
func startOf(t time.Time) string { return fmt.Sprint(t.UnixMilli(), "-0") }

// missed reports whether the stream no longer reaches back to an entry that was read. Entries
// after it may then be gone too, so everything must be verified. The same is true if
// messages since then may be too old to be applied.
func (n *Node) missed(ctx context.Context, last string) (bool, error) {
	there, err := n.client.XRange(ctx, streamKey, last, last).Result()
	if err != nil {
		return false, err
	}
	missed := len(there) == 0
	n.verifyDue = n.verifyDue || missed || time.Since(timeOf(last)) > horizon
	return missed, nil
}

func timeOf(id string) time.Time {
	ms, _, _ := strings.Cut(id, "-")
	n, _ := strconv.ParseInt(ms, 10, 64)
	return time.UnixMilli(n)
}

// follow reads new entries of the stream. It waits for them for up to block; if that is
// negative, not at all. more reports whether there may be more.
func (n *Node) follow(ctx context.Context, block time.Duration) (more bool, err error) {
	n.verifyIfDue()
	streams, err := n.client.XRead(ctx, &redis.XReadArgs{Streams: []string{streamKey, n.last}, Count: batch, Block: block}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return false, nil
	case err != nil:
		return false, err
	case len(streams) == 0 || len(streams[0].Messages) == 0:
		return false, nil
	}
	entries := streams[0].Messages
	n.apply(entries)
	before, placed := n.last, n.placed
	n.last, n.placed = entries[len(entries)-1].ID, true
	n.beat = time.Time{} // others may be waiting for this node's confirmation
	if len(entries) < batch {
		return false, nil
	}
	clock.Sleep(ctx, batchPause)
	if placed { // the stream may be cut faster than it is read
		_, err = n.missed(ctx, before)
	}
	return true, err
}

func (n *Node) verifyIfDue() {
	if !n.verifyDue || !n.verified.IsZero() && time.Since(n.verified) < verifyPause {
		return
	}
	n.verifyDue, n.verified = false, time.Now()
	n.mu.Lock()
	n.stats.Verified++
	n.mu.Unlock()
	n.log.Warn("messages of other nodes may have been missed: cached credentials are looked up again when they are used", "reason", "events_missed")
	n.o.Target.Verify()
}

// apply applies the changes of other nodes.
func (n *Node) apply(entries []redis.XMessage) {
	changes := vault.Changes{Credentials: map[credential.ShortID]bool{}, Stores: map[credential.ShortID]bool{}, Placed: map[credential.ShortID]bool{}}
	var blocks []blocklist.Entry
	for _, e := range entries {
		text, _ := e.Values[fieldText].(string)
		signature, _ := e.Values[fieldSignature].(string)
		m, err := n.signer.decode(text, signature)
		if err != nil {
			n.count(func(s *Stats) { s.Forged++ })
			n.log.Error("a message in Redis is ignored", "reason", "events_forged", "err", err)
			continue
		}
		if !n.isNew(m.ID) {
			continue
		}
		blocks = append(blocks, m.Blocks...) // of any age: of two decisions the later one counts
		if age := time.Since(m.At).Abs(); age > horizon {
			n.count(func(s *Stats) { s.Stale++ })
			continue
		}
		n.count(func(s *Stats) { s.Applied++ })
		for _, id := range m.Credentials {
			changes.Credentials[id] = true
		}
		for _, id := range m.Stores {
			changes.Stores[id] = true
		}
		for _, id := range m.Placed {
			changes.Placed[id] = true
		}
	}
	n.block(blocks)
	if len(changes.Credentials)+len(changes.Stores)+len(changes.Placed) == 0 {
		return
	}
	if _, err := n.o.Target.Drop(changes); err != nil {
		n.log.Error("credentials that another node changed are dropped from memory, but not from the snapshot", "reason", "events_snapshot", "err", err)
	}
}

// isNew remembers a message, and reports whether it was not known yet.
func (n *Node) isNew(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.seen[id]; known {
		n.stats.Replayed++
		return false
	}
	n.remember(id)
	return true
}

// remember remembers a message's id. The oldest ids are forgotten: replaying such a message
// costs a lookup at most. n.mu is held.
func (n *Node) remember(id string) {
	if len(n.order) >= maxSeen {
		for _, old := range n.order[:maxSeen/10] {
			delete(n.seen, old)
		}
		n.order = append([]string(nil), n.order[maxSeen/10:]...)
	}
	n.seen[id] = struct{}{}
	n.order = append(n.order, id)
}

// block applies blocks of other nodes.
func (n *Node) block(entries []blocklist.Entry) {
	if n.o.Blocks == nil || len(entries) == 0 {
		return
	}
	now, right := time.Now(), entries[:0]
	for _, e := range entries {
		if err := e.Check(now); err != nil {
			n.log.Error("a block of another node is ignored", "reason", "events_block", "err", err)
			continue
		}
		right = append(right, e)
	}
	if _, err := n.o.Blocks.Add(right...); err != nil {
		n.log.Error("blocks of other nodes are in force, but could not be written to the file", "reason", "events_block", "err", err)
	}
}

func (n *Node) count(f func(*Stats)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(&n.stats)
}

// sync exchanges blocks with Redis, in both directions.
func (n *Node) sync(ctx context.Context) error {
	n.synced = time.Now()
	if n.o.Blocks == nil {
		return nil
	}
	kept, err := n.client.HGetAll(ctx, blocksKey).Result()
	if err != nil {
		return err
	}
	theirs := map[blocklist.Target]blocklist.Entry{}
	var entries []blocklist.Entry
	for _, value := range kept {
		signature, text, _ := strings.Cut(value, " ")
		m, err := n.signer.decode(text, signature)
		if err != nil || len(m.Blocks) != 1 {
			n.count(func(s *Stats) { s.Forged++ })
			n.log.Error("a block in Redis is ignored", "reason", "events_forged", "err", err)
			continue
		}
		theirs[m.Blocks[0].Target] = m.Blocks[0]
		entries = append(entries, m.Blocks[0])
	}
	n.block(entries)
	for _, e := range n.o.Blocks.Entries() {
		if other, known := theirs[e.Target]; known && other.At.Equal(e.At) {
			continue
		}
		m := newMessage(n.name, time.Now())
		m.Blocks = []blocklist.Entry{e}
		if _, err := n.send(ctx, m); err != nil {
			return err
		}
	}
	return nil
}
