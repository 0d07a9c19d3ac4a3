package azurevault

import (
	"context"
	"errors"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
)

// addPrevious adds the secret token of the version directly before the current one,
// for accept_previous_version seconds after the current one was made. A previous
// secret in the record itself has priority as long as it is valid.
//
// A missing permission to list or read versions is only logged, since it must not
// affect clients that use the current version. Any other failure is returned:
// without the previous secret, its clients would get a negative answer.
func (r *read) addPrevious(ctx context.Context, current azsecrets.Secret, record *credential.Record) error {
	now, window := time.Now(), time.Duration(float64(r.cfg.AcceptPreviousVersion)*float64(time.Second))
	made := current.Attributes.Created
	if window <= 0 || made == nil || now.Sub(*made) >= window || now.Before(record.PreviousExpiresAt) {
		return nil
	}
	version, err := r.versionBefore(ctx, current)
	if err != nil || version == "" {
		return r.tolerateDenied(err)
	}
	secret, err := r.get(ctx, version)
	if err != nil {
		return r.tolerateDenied(err)
	}
	previous, err := r.parse(secret, now)
	if err != nil || previous.AccessToken != record.AccessToken || previous.Disabled || now.Before(previous.NotBefore) {
		return nil // the previous version has no usable secret token
	}
	record.Previous = previous.Secret
	record.PreviousExpiresAt = earlier(earlier(made.Add(window), secret.Attributes.Expires), nonZero(previous.ExpiresAt))
	return nil
}

// versionBefore is the version directly before the current one, or empty if there is
// none or it is disabled: disabling it ends the grace period, and must not make an
// even older version valid. Key Vault lists versions in no particular order, with
// their age in whole seconds: of several made in the same second, none may be
// disabled.
func (r *read) versionBefore(ctx context.Context, current azsecrets.Secret) (string, error) {
	version, newest, enabled := "", time.Time{}, false
	pages := r.client.NewListSecretPropertiesVersionsPager(r.name, nil)
	for pages.More() {
		page, err := recovered(func() (azsecrets.ListSecretPropertiesVersionsResponse, error) { return pages.NextPage(ctx) })
		if err != nil {
			return "", r.explain(ctx, err)
		}
		for _, p := range page.Value {
			if p == nil || p.ID == nil || p.Attributes == nil || p.Attributes.Created == nil || p.ID.Version() == current.ID.Version() {
				continue
			}
			made, inUse := *p.Attributes.Created, p.Attributes.Enabled == nil || *p.Attributes.Enabled
			switch {
			case made.After(*current.Attributes.Created):
			case made.After(newest):
				version, newest, enabled = p.ID.Version(), made, inUse
			case made.Equal(newest):
				enabled = enabled && inUse
			}
		}
	}
	if !enabled {
		return "", nil
	}
	return version, nil
}

// tolerateDenied returns err unless it is a negative answer, which concerns only the
// previous version, or a missing permission.
func (r *read) tolerateDenied(err error) error {
	if isDenied(err) {
		r.log.Warn("accept_previous_version has no effect: the login may not list the versions of secrets "+
			"(it needs the role Key Vault Secrets User, or the secret permissions get and list)",
			"reason", "denied", "err", err)
		return nil
	}
	if errors.Is(err, cache.ErrAbsent) {
		return nil
	}
	return err
}

func nonZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
