package manage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/clock"
	"kong-vault-auth/credential"
	"kong-vault-auth/credentialfile"
	"kong-vault-auth/secretstore"
)

// Bulk imports a file of credentials, several at the same time. The file may have any
// length: only the credentials that are being written are in memory.
type Bulk struct {
	Vault *Vault
	How   Importing
	File  credentialfile.Reader
	// Consumer finds the consumer that a record names. If it returns a *StopError, the
	// import ends.
	Consumer func(context.Context, credential.Consumer) (credential.Consumer, error)
	Timeout  time.Duration // of one attempt
	Report   func(Outcome) // calls don't overlap

	reports sync.Mutex
	pause   pause
	refused refusals
	met     atomic.Bool // the store already had the last credential
}

// Outcome is the result for one credential of a file.
type Outcome struct {
	Position    string
	AccessToken string // empty if the file has no valid one
	Imported    Imported
	Err         error
	Warnings    []string // in a dry run, of a credential that would be stored
}

// StopError ends an import. The import can be started again.
type StopError struct{ Err error }

// Error says what to do.
func (e *StopError) Error() string {
	return fmt.Sprintf("%v; the import has stopped: start it again to continue", e.Err)
}

// Unwrap returns the cause.
func (e *StopError) Unwrap() error { return e.Err }

const (
	writesAtOnce = 16
	readAhead    = 8 // rows for each writer, so that none waits for another's write
	maxRetries   = 8 // about two minutes
	maxPause     = 30 * time.Second
	maxRefusals  = 20
)

// Run imports the file. It reports credentials that fail, and imports the others. An
// error says why the import ended before the end of the file.
func (b *Bulk) Run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	queues := make([]chan credentialfile.Row, writesAtOnce)
	var workers sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan credentialfile.Row, readAhead)
		workers.Go(func() {
			for row := range queues[i] {
				if err := b.one(ctx, row); err != nil {
					stop(err)
				}
			}
		})
	}
	err := b.feed(ctx, queues)
	for _, queue := range queues {
		close(queue)
	}
	workers.Wait()
	return cmp.Or(context.Cause(ctx), err)
}

// feed reads the file. Credentials whose access tokens differ at most in case, which Azure
// ignores, go through the same queue, so that they are stored in their order.
func (b *Bulk) feed(ctx context.Context, queues []chan credentialfile.Row) error {
	seed := maphash.MakeSeed()
	names := newNames(b.Vault.Writer) // for a dry run, where the store doesn't show repetitions
	for ctx.Err() == nil {
		row, err := b.File.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the file: %w", err)
		}
		if row.Err != nil {
			b.report(Outcome{Position: row.Position, Err: row.Err})
			continue
		}
		if b.How.DryRun {
			if err := names.add(row.Record.AccessToken); err != nil {
				b.report(Outcome{Position: row.Position, AccessToken: row.Record.AccessToken, Err: err})
				continue
			}
		}
		queue := queues[maphash.String(seed, strings.ToLower(row.Record.AccessToken))%uint64(len(queues))]
		select {
		case queue <- row:
		case <-ctx.Done():
		}
	}
	return nil
}

// one imports a credential and reports it. Its error ends the import.
func (b *Bulk) one(ctx context.Context, row credentialfile.Row) error {
	if ctx.Err() != nil {
		return nil
	}
	imported, err := b.retry(ctx, row.Record)
	var stop *StopError
	if errors.As(err, &stop) || ctx.Err() != nil && err != nil {
		return err
	}
	o := Outcome{Position: row.Position, AccessToken: row.Record.AccessToken, Imported: imported, Err: err}
	if b.How.DryRun && err == nil {
		o.Warnings = b.Vault.warnings(row.Record)
	}
	b.report(o)
	return b.refused.count(err)
}

func (b *Bulk) report(o Outcome) {
	b.reports.Lock()
	defer b.reports.Unlock()
	b.Report(o)
}

// retry imports a credential, and retries while the store fails. If a write got no answer
// but was made, the next attempt finds that out.
func (b *Bulk) retry(ctx context.Context, r *credential.Record) (Imported, error) {
	for attempt := range maxRetries {
		if err := b.pause.wait(ctx); err != nil {
			return "", err
		}
		imported, err := b.attempt(ctx, r)
		var failure *secretstore.Failure
		switch {
		case !errors.As(err, &failure), failure.Denied(), failure.OneName:
			return imported, err
		case attempt == maxRetries-1:
			return "", &StopError{err}
		}
		b.pause.extend(max(failure.Wait, min(time.Second<<attempt, maxPause)))
	}
	panic("unreachable")
}

func (b *Bulk) attempt(ctx context.Context, r *credential.Record) (Imported, error) {
	ctx, cancel := context.WithTimeout(ctx, b.Timeout)
	defer cancel()
	found := *r
	if b.Consumer != nil {
		var err error
		if found.Consumer, err = b.Consumer(ctx, r.Consumer); err != nil {
			return "", err
		}
	}
	how := b.How
	how.readFirst = b.met.Load()
	imported, err := b.Vault.importOne(ctx, &found, how)
	b.met.Store(exists(imported, err))
	return imported, err
}

// exists reports whether the store already had the credential. If it had, it most likely
// has the next one too, because an import that is started again finds what the last one
// stored. Then a read is better than a write that will be refused.
func exists(imported Imported, err error) bool {
	return imported == Unchanged || imported == Replaced || errors.As(err, new(*differsError))
}

// pause is a time in which nothing is sent to the store, because it asked to wait or
// fails.
type pause struct {
	mu  sync.Mutex
	end time.Time
}

func (p *pause) extend(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if end := time.Now().Add(by); end.After(p.end) {
		p.end = end
	}
}

func (p *pause) wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		left := time.Until(p.end)
		p.mu.Unlock()
		if left <= 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		clock.Sleep(ctx, left)
	}
}

// refusals counts consecutive credentials that the store refused. A policy may not cover
// some names, but if it covers none, the import can stop.
type refusals struct {
	mu sync.Mutex
	n  int
}

func (r *refusals) count(err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !isFailure(err) {
		r.n = 0
		return nil
	}
	if r.n++; r.n < maxRefusals {
		return nil
	}
	return &StopError{err}
}
