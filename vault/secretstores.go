package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

// What is kept open for references.
const (
	maxSecretStores = 64   // an entity that is edited is another store
	maxSecrets      = 1000 // of each
	secretLinger    = time.Hour
)

// secretStore is an open store and the secrets of it that are cached.
type secretStore struct {
	*openStore
	secrets secretstore.Secrets
	cache   *cache.Cache[secretstore.Secret]
	used    time.Time // guarded by Secrets.mu
	failed  func(err error)
}

// use returns d's store, which is opened if it isn't, with what a snapshot has of it
// that is of use under p. done must be called when it
// isn't used any more.
func (s *Secrets) use(d Definition, p cache.Policy) (store *secretStore, done func(), err error) {
	key := liveKey{identity: d.identity(), node: d.Node, settings: d.digest(s.registry.key)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, fmt.Errorf("%w: the resolver is closed", secretstore.ErrConfig)
	}
	store = s.stores[key]
	if store == nil {
		s.closeUnused(time.Now())
		if store, err = s.open(d, key); err != nil {
			return nil, nil, err
		}
		s.snapshot.restore(key.identity, store.cache, p)
		s.stores[key] = store
	}
	store.used = time.Now()
	store.reads.Add(1)
	return store, store.reads.Done, nil
}

func (s *Secrets) open(d Definition, key liveKey) (*secretStore, error) {
	opened, err := s.registry.openStore(d, key.identity, secretstore.Reach{})
	if err != nil {
		return nil, err
	}
	secrets, can := opened.(secretstore.Secrets)
	if !can {
		_ = opened.Close() // nothing was read
		return nil, fmt.Errorf("%w: the vault %s has no secrets beside credentials", secretstore.ErrConfig, d.Name)
	}
	store := &secretStore{openStore: &openStore{Store: opened}, secrets: secrets}
	store.failed = func(err error) { s.registry.node.refusal(key.identity, err) }
	store.cache = cache.New(store.lookup, cache.Options[secretstore.Secret]{
		MaxEntries: maxSecrets,
		Observer:   observeSecrets(s.registry.options.Logger.With("vault", d.Config.Place())),
	})
	return store, nil
}

// lookup reads what a secretKey says.
func (s *secretStore) lookup(ctx context.Context, _, name string) (found cache.Found[secretstore.Secret], err error) {
	var k secretKey
	if err := json.Unmarshal([]byte(name), &k); err != nil {
		return found, err
	}
	secret, err := s.secrets.Secret(ctx, k.Name, k.Version)
	if err != nil {
		s.failed(err)
	}
	return cache.Found[secretstore.Secret]{Value: secret, Expires: secret.Expires}, err
}

// observeSecrets logs when an outage begins and ends.
func observeSecrets(log *slog.Logger) cache.Observer {
	return cache.Observer{
		OutageBegan: func(err error, _, _ time.Time) {
			log.Warn("the secret store fails; references are answered from memory if their secrets are in it", "reason", reasonOf(err), "err", err)
		},
		OutageEnded: func(d time.Duration) {
			log.Info("the secret store answers again", "reason", "recovered", "after", d.Round(time.Second).String())
		},
	}
}

// closeUnused closes what nobody has asked for in a long time, and the store that
// was used least recently if there are too many. s.mu is held.
func (s *Secrets) closeUnused(now time.Time) {
	var oldest liveKey
	for key, store := range s.stores {
		if now.Sub(store.used) > secretLinger {
			s.closeStore(key)
		} else if o := s.stores[oldest]; o == nil || store.used.Before(o.used) {
			oldest = key
		}
	}
	if len(s.stores) >= maxSecretStores {
		s.closeStore(oldest)
	}
}

func (s *Secrets) closeStore(key liveKey) {
	store := s.stores[key]
	delete(s.stores, key)
	s.registry.closing.Go(func() {
		store.cache.Close()
		if err := store.retire(); err != nil {
			s.registry.options.Logger.Warn("closing the secret store failed", "reason", "close", "err", err)
		}
	})
}

// close closes all stores. Nothing is resolved any more.
func (s *Secrets) close() {
	s.closeSnapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for key := range s.stores {
		s.closeStore(key)
	}
}
