package vault

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/credential"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/secretstore"
)

// fakeStore is a Store in memory whose names ignore case, as Azure's do.
type fakeStore struct {
	mu      sync.Mutex
	records map[string]credential.Record // by key
	err     error                        // of every read, if set
	reads   int
	closed  bool
	held    chan struct{} // reads wait until it is closed, if set

	disabled map[string]bool   // by key
	versions map[string]string // the same
	pages    int               // of a listing; 0: 1
	listErr  error             // of every listing, if set, after its pages
	listings []time.Time       // when each began

	listingHeld chan struct{} // listings wait until it is closed, if set

	config  any                     // what it was opened with
	options secretstore.OpenOptions // the same
}

func (s *fakeStore) Key(accessToken string) string { return strings.ToLower(accessToken) }

func (s *fakeStore) Read(ctx context.Context, accessToken string) (*credential.Record, error) {
	s.mu.Lock()
	s.reads++
	held := s.held
	s.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("read after Close")
	}
	if s.err != nil {
		return nil, s.err
	}
	r, ok := s.records[s.Key(accessToken)]
	if !ok {
		return nil, &secretstore.Absent{Reason: secretstore.ReasonNotFound}
	}
	return &r, nil
}

func (s *fakeStore) List(ctx context.Context, yield func([]secretstore.Listed) error) error {
	s.mu.Lock()
	s.listings = append(s.listings, time.Now())
	pages, err, held := max(1, s.pages), s.listErr, s.listingHeld
	var all []secretstore.Listed
	for key := range s.records {
		all = append(all, secretstore.Listed{Key: key, Disabled: s.disabled[key], Version: s.versions[key]})
	}
	s.mu.Unlock()
	if held != nil {
		<-held
	}
	for range pages - 1 {
		if err := yield(nil); err != nil {
			return err
		}
	}
	return errors.Join(yield(all), err)
}

func (s *fakeStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// put stores a record by its own access token.
func (s *fakeStore) put(r credential.Record) { s.putAs(r.AccessToken, r) }

func (s *fakeStore) putAs(name string, r credential.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records[s.Key(name)] = r
}

// fail makes every read end with err, or none if it is nil.
func (s *fakeStore) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// change changes what a store holds, under its lock.
func (s *fakeStore) change(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// listed is when listings began.
func (s *fakeStore) listed() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.listings)
}

// readCount is how many reads there were.
func (s *fakeStore) readCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *fakeStore) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// alice is the record of the pair ac-alice, right.
func alice() credential.Record {
	return credential.Record{AccessToken: "ac-alice", Secret: credential.Secret{Token: "right"}, Consumer: credential.Consumer{Username: "alice"}}
}

// fakeStores opens fakeStores, each with a copy of records in it.
type fakeStores struct {
	records []credential.Record

	mu     sync.Mutex
	opened []*fakeStore
	err    error // of every opening, if set
}

// kinds are those of the product, with fakes for their stores.
func (f *fakeStores) kinds() kinds {
	hcv, azure := hashivault.Kind, azurevault.Kind
	hcv.Open, azure.Open = f.open, f.open
	return kinds{hcv, azure}
}

func (f *fakeStores) open(config secretstore.Config, o secretstore.OpenOptions) (secretstore.Store, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil, f.err
	}
	s := &fakeStore{records: map[string]credential.Record{}, config: config, options: o}
	for _, r := range f.records {
		s.put(r)
	}
	f.opened = append(f.opened, s)
	return s, nil
}

// all are the stores opened so far.
func (f *fakeStores) all() []*fakeStore {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened[:len(f.opened):len(f.opened)]
}

// someRecords are those of ac-alice and ac-bob, whose secret is right.
func someRecords() []credential.Record {
	bob := alice()
	bob.AccessToken, bob.Consumer.Username = "ac-bob", "bob"
	return []credential.Record{alice(), bob}
}
