package manage

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"kong-vault-auth/secretstore"
)

// readsAtOnce is how many records a listing reads at the same time. That saves waiting
// for each read, and doesn't burden the store.
const readsAtOnce = 8

// Show is what may be shown of one credential.
func (v *Vault) Show(ctx context.Context, accessToken string) (*Entry, error) {
	d, err := v.Writer.Get(ctx, accessToken)
	if err != nil {
		return nil, v.about(accessToken, err)
	}
	e := v.entry(accessToken, d)
	return &e, nil
}

// List yields every credential of the store. It reads each record. It leaves out
// credentials that are deleted meanwhile, and returns the first error of yield.
func (v *Vault) List(ctx context.Context, yield func(Entry) error) error {
	return v.Writer.Names(ctx, func(page []secretstore.Name) error { return v.entries(ctx, page, yield) })
}

// entries reads the records of names and yields them in the same order.
func (v *Vault) entries(ctx context.Context, names []secretstore.Name, yield func(Entry) error) error {
	for part := range slices.Chunk(names, readsAtOnce) {
		entries, errs := atOnce(ctx, part, v.Show)
		for i, e := range entries {
			switch err := errs[i]; {
			case errors.As(err, new(*secretstore.Absent)): // deleted meanwhile
				continue
			case err != nil:
				return err
			case e.CreatedAt == nil:
				e.CreatedAt = timeOf(part[i].Created)
			}
			if err := yield(*e); err != nil {
				return err
			}
		}
	}
	return nil
}

// atOnce calls read for each name, all at the same time.
func atOnce[T any](ctx context.Context, names []secretstore.Name, read func(context.Context, string) (*T, error)) ([]*T, []error) {
	found, errs := make([]*T, len(names)), make([]error, len(names))
	var reads sync.WaitGroup
	for i, name := range names {
		reads.Go(func() { found[i], errs[i] = read(ctx, name.AccessToken) })
	}
	reads.Wait()
	return found, errs
}

// Page is a part of a listing, in the order of the access tokens.
type Page struct {
	Entries []Entry
	Next    string // the access token after which the next page begins; empty: this is the last one
}

// Page returns the first size credentials after an access token. The store lists all of
// its names for that, but only the page's records are read.
func (v *Vault) Page(ctx context.Context, after string, size int) (*Page, error) {
	var names []secretstore.Name
	err := v.Writer.Names(ctx, func(page []secretstore.Name) error {
		for _, n := range page {
			if n.AccessToken > after {
				names = append(names, n)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(a, b secretstore.Name) int { return strings.Compare(a.AccessToken, b.AccessToken) })
	p := &Page{}
	if len(names) > size {
		names = names[:size]
		p.Next = names[size-1].AccessToken
	}
	err = v.entries(ctx, names, func(e Entry) error {
		p.Entries = append(p.Entries, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Empty reports whether the store holds no credential at all.
func (v *Vault) Empty(ctx context.Context) (bool, error) {
	found := errors.New("found")
	err := v.Writer.Names(ctx, func(page []secretstore.Name) error {
		if len(page) > 0 {
			return found
		}
		return nil
	})
	if errors.Is(err, found) {
		return false, nil
	}
	return err == nil, err
}
