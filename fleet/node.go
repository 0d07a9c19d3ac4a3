package fleet

import (
	"context"
	"crypto/rand"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/clock"
	"kong-vault-auth/securefile"
	"kong-vault-auth/vault"
)

// The names in Redis. They share a hash tag, so they are on one node of a cluster.
const (
	streamKey = "{vault-auth}:events"
	blocksKey = "{vault-auth}:blocks"
	nodesKey  = "{vault-auth}:nodes"
)

const (
	// maxStream is how many messages the stream keeps, about.
	maxStream = 10_000
	// horizon is how old a message about changed credentials may be. A node that was away
	// for longer has everything verified.
	horizon = 24 * time.Hour
	// maxSeen bounds the messages that are known again.
	maxSeen = 100_000

	batch     = 500 // messages that are read at a time
	blockFor  = 2 * time.Second
	syncEvery = time.Minute
	// batchPause bounds what somebody who sends many messages can cost this node.
	batchPause = 20 * time.Millisecond
	// verifyPause is the least time between two verifications of everything: somebody who
	// can delete the stream must not be able to cause them at will.
	verifyPause = time.Minute

	firstPause = 250 * time.Millisecond // between attempts to connect; doubled
	maxPause   = 2 * time.Second

	dialTimeout = 5 * time.Second
)

// Target is what changes are applied to: a vault.Registry.
type Target interface {
	Drop(vault.Changes) (count int, err error)
	Verify()
}

// Options are what a Node needs.
type Options struct {
	Settings *Settings
	KeyFile  string
	Target   Target
	Blocks   *blocklist.List // nil: this node keeps no blocks
	Logger   *slog.Logger
}

// Node is this plugin server's connection to those of the other nodes. Make one with Start.
// A nil Node has no other nodes.
type Node struct {
	o      Options
	name   string
	log    *slog.Logger
	client redis.UniversalClient
	signer signer
	stop   context.CancelFunc
	done   chan struct{}

	dialled atomic.Int64 // connections that were made

	mu        sync.Mutex // guards the rest
	connected bool
	seen      map[string]struct{}
	order     []string  // of seen, the oldest first
	outbox    []message // made while Redis was down
	recent    []sent    // by this node, the oldest first
	stats     Stats

	// The rest belongs to the goroutine.
	last       string    // id in the stream: entries after it are new
	placed     bool      // last is the id of an entry that was read, not a point in time
	verified   time.Time // when everything was verified last
	verifyDue  bool
	synced     time.Time // when blocks were last exchanged with Redis
	beat       time.Time // of the last heartbeat
	everLinked bool
}

// Start joins the fleet, in the background until stop is called. It never fails: errors are
// logged, and it tries again.
func Start(ctx context.Context, o Options) (n *Node, stop func()) {
	if o.Settings == nil {
		return nil, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	n = newNode(o)
	n.stop, n.done = cancel, make(chan struct{})
	if o.Settings.Plain() {
		n.log.Warn("changes are sent to Redis without TLS: use rediss://", "reason", "events")
	}
	go n.run(ctx)
	return n, func() {
		cancel()
		n.leave()
		<-n.done
	}
}

func newNode(o Options) *Node {
	redis.SetLogger(quiet{})
	host, _ := os.Hostname()
	return &Node{o: o, name: host + "-" + rand.Text()[:8], log: o.Logger, seen: map[string]struct{}{}}
}

// Dial connects for a process that sends messages to the nodes without being one of them: a
// command on a machine without a plugin server. Messages that can't be sent at once are
// dropped.
func Dial(ctx context.Context, o Options) (*Node, error) {
	n := newNode(o)
	if err := n.connect(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := n.reachStream(ctx); err != nil {
		_ = n.client.Close()
		return nil, err
	}
	n.connected = true
	return n, nil
}

// reachStream reads from the stream. A PING would not do: a cluster's client sends it to
// every server, and only the one that has the stream counts.
func (n *Node) reachStream(ctx context.Context) error {
	return n.client.XRangeN(ctx, streamKey, "-", "+", 1).Err()
}

// quiet is a logger for Redis' library, which would otherwise write to standard error.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// run links to Redis, and again whenever the link breaks.
func (n *Node) run(ctx context.Context) {
	defer close(n.done)
	began, pause := time.Now(), firstPause
	for ctx.Err() == nil {
		linked, err := n.link(ctx, began)
		if ctx.Err() != nil {
			break
		}
		n.lost(err)
		if linked {
			pause = firstPause
		}
		clock.Sleep(ctx, pause)
		pause = min(2*pause, maxPause)
	}
	n.leave() // where ctx has ended
}

// link connects and follows the stream until that fails.
func (n *Node) link(ctx context.Context, began time.Time) (linked bool, err error) {
	if err := n.connect(); err != nil {
		return false, err
	}
	if err := n.reachStream(ctx); err != nil {
		return false, err
	}
	if n.last == "" {
		n.last = startOf(began.Add(-horizon))
		n.verifyDue = time.Since(began) > maxPause // the stream may have been cut since
	}
	checked := n.dialled.Load()
	if err := n.checkStream(ctx); err != nil {
		return false, err
	}
	if err := n.sync(ctx); err != nil {
		return false, err
	}
	// Once up to date, before the others count on this node.
	for more := true; more; {
		if more, err = n.follow(ctx, -1); err != nil {
			return false, err
		}
	}
	n.linked()
	for ctx.Err() == nil {
		if dialled := n.dialled.Load(); dialled != checked { // maybe with another server, or one that has lost its data
			checked = dialled
			if err := n.checkStream(ctx); err != nil {
				return true, err
			}
		}
		if err := n.flush(ctx); err != nil {
			return true, err
		}
		if err := n.heartbeat(ctx); err != nil {
			return true, err
		}
		if time.Since(n.synced) >= syncEvery {
			if err := n.sync(ctx); err != nil {
				return true, err
			}
		}
		if _, err := n.follow(ctx, blockFor); err != nil {
			return true, err
		}
	}
	return true, ctx.Err()
}

// checkStream checks that the stream is still the one that was read and written.
func (n *Node) checkStream(ctx context.Context) error {
	if n.placed {
		missed, err := n.missed(ctx, n.last)
		if err != nil {
			return err
		}
		if missed { // read everything that the stream still holds
			n.last, n.placed = beginning, false
		}
	}
	return n.keepLost(ctx)
}

// connect makes the client and reads the key, if that has not been done.
func (n *Node) connect() error {
	if n.client != nil {
		return nil
	}
	key, err := securefile.ReadKey(n.o.KeyFile)
	if err != nil {
		return err
	}
	client, err := n.o.Settings.client("vault-auth", func() { n.dialled.Add(1) })
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.signer, n.client = newSigner(key), client
	return nil
}

func (n *Node) linked() {
	n.mu.Lock()
	n.connected = true
	n.mu.Unlock()
	if n.everLinked {
		n.log.Info("connected to Redis again: messages of other nodes arrive", "reason", "events")
	} else {
		n.log.Info("connected to Redis: messages of other nodes arrive", "reason", "events", "node", n.name)
	}
	n.everLinked = true
}

func (n *Node) lost(err error) {
	if c, ok := n.client.(*redis.ClusterClient); ok {
		c.ReloadState(context.Background()) // who is master may have changed; else it looks once a minute
	}
	n.mu.Lock()
	n.connected = false
	n.stats.Failures++
	n.mu.Unlock()
	what := "Redis can't be reached: changes made on other nodes are noticed when credentials are read again (check " + URLVariable + ")"
	if n.client == nil { // no attempt was made
		what = "changes made on other nodes are noticed when credentials are read again, since a file that Redis needs can't be used"
	}
	n.log.Warn(what, "reason", "events_down", "err", err)
}

// leave takes this node off the list, so that the others don't wait for it. It ends calls
// that wait for Redis.
func (n *Node) leave() {
	n.mu.Lock()
	client := n.client
	n.mu.Unlock()
	if client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), ioTimeout)
	defer cancel()
	_ = client.HDel(ctx, nodesKey, n.name).Err() // if it fails, the heartbeat expires soon
	_ = client.Close()
}

// Stats are the counts of a Node.
type Stats struct {
	Connected bool
	Failures  uint64 // of connections
	Sent      uint64
	Applied   uint64 // messages of others
	Replayed  uint64 // messages that were known already
	Stale     uint64 // messages about changes that are too old
	Forged    uint64 // messages that were not signed with the key, or can't be read
	Verified  uint64 // times that everything was verified, since messages may have been missed
	Waiting   int    // messages to be sent when Redis is back
}

// Stats returns what was counted. It is safe for concurrent use.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.stats
	s.Connected, s.Waiting = n.connected, len(n.outbox)
	return s
}

// StatsFunc is Stats, or nil if there are no other nodes.
func (n *Node) StatsFunc() func() Stats {
	if n == nil {
		return nil
	}
	return n.Stats
}
