package hashivault

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

const (
	// maxListing limits the size of a listing, which Vault sends in one response.
	maxListing = 256 << 20
	// namesPerPage is how many names cost Vault as much as one read.
	namesPerPage = 1000
)

// deletedVersion is the Version of a name whose current version is deleted, or will
// be (delete_version_after).
const deletedVersion = "deleted"

// List lists the names below the store's path. See secretstore.Lister.
//
// KV v2 lists a secret until its metadata is deleted. Since 1.21, Vault can leave
// out those whose current version is deleted. Here they stay in the listing, with
// another Version, because Vault also leaves out versions whose deletion is in the
// future. Older Vaults ignore the parameter.
func (s *store) List(ctx context.Context, yield func([]secretstore.Listed) error) error {
	if s.closed.Load() {
		return closedFailure()
	}
	err := s.list(ctx, yield)
	s.redial.After(err)
	return err
}

func (s *store) list(ctx context.Context, yield func([]secretstore.Listed) error) error {
	current, err := s.sessions.get(ctx)
	if err != nil {
		return err
	}
	all, current, err := s.names(ctx, current, false)
	if err != nil {
		return err
	}
	var alive []string
	if current.kv == kv2 {
		// The order matters: in the other one, a name that is stored in between would
		// look deleted, and its later deletion would look like no change.
		if alive, current, err = s.names(ctx, current, true); err != nil {
			return err
		}
		if err := inPages(alive, func([]string) error { return yield(nil) }); err != nil {
			return err
		}
	}
	slices.Sort(alive)
	return inPages(all, func(names []string) error {
		page := make([]secretstore.Listed, 0, len(names))
		for _, name := range names {
			l := secretstore.Listed{Key: s.Key(name)}
			if _, found := slices.BinarySearch(alive, name); current.kv == kv2 && !found {
				l.Version = deletedVersion
			}
			page = append(page, l)
		}
		return yield(page)
	})
}

// inPages calls yield at least once.
func inPages(names []string, yield func([]string) error) error {
	for {
		n := min(namesPerPage, len(names))
		if err := yield(names[:n]); err != nil {
			return err
		}
		if names = names[n:]; len(names) == 0 {
			return nil
		}
	}
}

// names returns the access tokens that Vault lists, and the session that was used.
func (s *store) names(ctx context.Context, current *session, excludeDeleted bool) ([]string, *session, error) {
	var folder string
	a, current, err := s.ask(ctx, current, func(current *session) attempt {
		folder = s.settings.listFolder(current.kv)
		// Not the method LIST, which many proxies don't know.
		r := request{path: folder + "/", query: url.Values{"list": {"true"}}, token: current.token}
		if excludeDeleted {
			r.query.Set("exclude_deleted", "true")
		}
		return attempt{
			op: "list " + folder,
			send: func() (*answer, error) {
				return withRetries(ctx, func() (*answer, error) { return s.conn.send(withBodyLimit(ctx, maxListing), r) })
			},
			failed: transportFailure,
			denied: func(token tokenInfo) error { return listDenied(folder, token) },
		}
	})
	if err != nil {
		return nil, nil, err
	}
	names, err := s.listed(a, folder, current.kv)
	if err == nil {
		s.sessions.noteAccepted(current)
	}
	return names, current, err
}

// listDenied is a 403 for a token that Vault accepts.
func listDenied(folder string, token tokenInfo) *secretstore.Failure {
	return &secretstore.Failure{
		Op: "list " + folder, Reason: secretstore.Denied,
		Err:    fmt.Errorf("status 403: the token%s lacks the capability list on it, which revocation_interval needs", describeToken(token)),
		Remedy: fmt.Sprintf(`add to one of its policies: path "%s" { capabilities = ["list"] }`, folder),
	}
}

// listed interprets the answer to a listing. As with one record, only Vault's
// explicit statement means that there is nothing.
func (s *store) listed(a *answer, folder, kv string) ([]string, error) {
	op := "list " + folder
	r, isVault := a.decode()
	switch {
	case a.status == http.StatusNotFound && isPlainNotFound(a.body):
		return nil, nil
	case a.status == http.StatusNotFound:
		return nil, s.wrongPath(a, r, op, redactAll, kv)
	case a.status != http.StatusOK:
		return nil, a.failure(op, redactAll)
	case a.truncated:
		return nil, &secretstore.Failure{Op: op, Reason: "size", Err: fmt.Errorf("the listing is larger than %d bytes", maxListing)}
	}
	if isVault && r.emptyWithAWarning() {
		return nil, nil
	}
	var data struct {
		Keys []string `json:"keys"`
	}
	if !isVault || json.Unmarshal(r.Data, &data) != nil || len(data.Keys) == 0 {
		return nil, &secretstore.Failure{Op: op, Reason: "unexpected", Remedy: remedyNotVault,
			Err: fmt.Errorf("%w: status 200 without the keys of a listing, content type %.60q", errNotVault, a.header.Get("Content-Type"))}
	}
	// Leave out folders, which end in a slash, and names that no client may send.
	return slices.DeleteFunc(data.Keys, func(name string) bool {
		return strings.HasSuffix(name, "/") || credential.CheckAccessToken(name) != nil
	}), nil
}

// emptyWithAWarning reports whether this is how Vault before 1.21, and OpenBao, answer
// for an empty folder with exclude_deleted: they don't send a 404, because they add a
// warning that they don't know that parameter.
func (r *reply) emptyWithAWarning() bool {
	return string(r.Data) == "{}" && len(r.Errors) == 0 && len(r.Warnings) == 1 &&
		strings.Contains(r.Warnings[0], "unrecognized parameters") && strings.Contains(r.Warnings[0], "exclude_deleted")
}
