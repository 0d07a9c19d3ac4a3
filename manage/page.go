package manage

import (
	"context"
	"errors"
	"slices"
	"strings"

	"kong-vault-auth/secretstore"
)

// Page is a part of a listing, in the order of the access tokens.
type Page struct {
	Entries []Entry
	Next    string // the access token after which the next page begins; empty: this is the last one
}

// Page is the first size credentials after an access token. The store lists all of its
// names for it; only the page's records are read.
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
	for part := range slices.Chunk(names, readsAtOnce) {
		entries, err := v.read(ctx, part)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e != nil { // it was deleted meanwhile otherwise
				p.Entries = append(p.Entries, *e)
			}
		}
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
