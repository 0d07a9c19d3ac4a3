package manage

import (
	"context"
	"errors"
	"sync"

	"kong-vault-auth/secretstore"
)

// readsAtOnce is how many records a listing reads at the same time: many enough not to
// wait for each, too few to be noticed by the store.
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

// List yields every credential of the store, which takes a read of each. One that is
// deleted meanwhile is left out. An error of yield's ends it and is returned.
func (v *Vault) List(ctx context.Context, yield func(Entry) error) error {
	return v.Writer.Names(ctx, func(page []secretstore.Name) error {
		for len(page) > 0 {
			n := min(readsAtOnce, len(page))
			entries, err := v.read(ctx, page[:n])
			if err != nil {
				return err
			}
			for _, e := range entries {
				if e == nil {
					continue
				}
				if err := yield(*e); err != nil {
					return err
				}
			}
			page = page[n:]
		}
		return nil
	})
}

// read reads the records of some names at the same time.
func (v *Vault) read(ctx context.Context, names []secretstore.Name) ([]*Entry, error) {
	entries, errs := atOnce(ctx, names, v.Show)
	for i, err := range errs {
		var absent *secretstore.Absent
		if err != nil && !errors.As(err, &absent) {
			return nil, err
		}
		if e := entries[i]; e != nil && e.CreatedAt == nil {
			e.CreatedAt = timeOf(names[i].Created)
		}
	}
	return entries, nil
}

// atOnce reads what each of some names has, all at the same time.
func atOnce[T any](ctx context.Context, names []secretstore.Name, read func(context.Context, string) (*T, error)) ([]*T, []error) {
	found, errs := make([]*T, len(names)), make([]error, len(names))
	var reads sync.WaitGroup
	for i, name := range names {
		reads.Go(func() { found[i], errs[i] = read(ctx, name.AccessToken) })
	}
	reads.Wait()
	return found, errs
}
