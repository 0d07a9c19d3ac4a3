package azurevault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/secretstore"
)

// List lists the secrets of the vault whose names begin with name_prefix, in Key
// Vault's pages of 25. Key Vault has no filter for names, so it pages through the
// whole vault. See secretstore.Lister.
func (s *store) List(ctx context.Context, yield func([]secretstore.Listed) error) error {
	ctx, r := s.begin(ctx, read{op: "list the secrets", needs: "get list"})
	if s.closed.Load() {
		return r.closedFailure()
	}
	err := r.list(ctx, yield)
	s.redial.After(err)
	return err
}

func (r *read) list(ctx context.Context, yield func([]secretstore.Listed) error) error {
	return r.pages(ctx, func(page []listed) error {
		out := make([]secretstore.Listed, len(page))
		for i, p := range page {
			// Names ignore case, as keys do: see Key.
			out[i] = secretstore.Listed{Key: strings.ToLower(p.name), Disabled: !*p.Attributes.Enabled, Version: updated(p.Attributes.Updated)}
		}
		return yield(out)
	})
}

// listed is a secret as Key Vault lists it.
type listed struct {
	name string
	*azsecrets.SecretProperties
}

// pages yields, for each of Key Vault's pages, the secrets whose names begin with the
// prefix.
func (r *read) pages(ctx context.Context, yield func([]listed) error) error {
	prefix := strings.ToLower(r.cfg.NamePrefix)
	for next := ""; ; {
		page, err := withToken(ctx, r.login, func() (azsecrets.ListSecretPropertiesResponse, error) { return r.page(ctx, next) })
		if err != nil {
			return r.explainListing(ctx, err)
		}
		if page.Value == nil { // Key Vault's own pages have a value even if they are empty
			return r.explainListing(ctx, errNotKeyVault)
		}
		out := make([]listed, 0, len(page.Value))
		for _, p := range page.Value {
			name, ok := listedName(p)
			if !ok {
				return r.explainListing(ctx, errNotKeyVault)
			}
			if strings.HasPrefix(strings.ToLower(name), prefix) {
				out = append(out, listed{name, p})
			}
		}
		if err := yield(out); err != nil {
			return err
		}
		if page.NextLink == nil || *page.NextLink == "" {
			return nil
		}
		next = *page.NextLink
		if u, err := url.Parse(next); err != nil || strings.TrimSuffix(strings.ToLower(u.Host), ":443") != r.endpoint.host {
			return r.explainListing(ctx, errNotKeyVault) // no other host may get the access token
		}
	}
}

// page gets the page at a link, or the first one. A pager of the SDK can't be used after
// an error, so each page, and each attempt, has its own.
func (s *store) page(ctx context.Context, link string) (azsecrets.ListSecretPropertiesResponse, error) {
	pages := s.client.NewListSecretPropertiesPager(nil)
	if link != "" {
		// Make the pager continue after a page that contains only that link.
		before, err := json.Marshal(azsecrets.SecretPropertiesListResult{NextLink: &link})
		if err == nil {
			err = json.Unmarshal(before, pages)
		}
		if err == nil {
			_, err = pages.NextPage(ctx)
		}
		if err != nil {
			return azsecrets.ListSecretPropertiesResponse{}, err
		}
	}
	return pages.NextPage(ctx)
}

// listedName is the name in an item's id, https://VAULT/secrets/NAME. ok is false
// if Key Vault can't have sent the item. The SDK's own parser panics on such items.
func listedName(p *azsecrets.SecretProperties) (name string, ok bool) {
	if p == nil || p.ID == nil || p.Attributes == nil || p.Attributes.Enabled == nil {
		return "", false
	}
	_, name, ok = strings.Cut(string(*p.ID), "/secrets/")
	return name, ok && name != "" && isName(name)
}

// updated is the time of the last change to a secret or its attributes, in seconds.
func updated(t *time.Time) string {
	if t == nil {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// explainListing is explain for a listing, which has no negative answer.
func (r *read) explainListing(ctx context.Context, err error) error {
	err = r.explain(ctx, err)
	var absent *secretstore.Absent
	if errors.As(err, &absent) {
		return r.failure("unexpected", remedyNotKeyVault, "%w: the answer belongs to a read, not to a listing (%s)", errNotKeyVault, absent.Reason)
	}
	if isDenied(err) && r.role == "" {
		return fmt.Errorf("revocation_interval needs the permission to list: %w", err)
	}
	return err
}
