package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"kong-vault-auth/secretstore"
)

// Record is a record for tests, as a store keeps it.
func Record(accessToken, secretToken string) string {
	return fmt.Sprintf(`{"access_token":%q,"consumer":"bob","secret_token":%q}`, accessToken, secretToken)
}

// Operate does the steps, one after the other, and returns the result of each in a few
// words. A step is an operation and an access token: create (with the secret token
// secret-1), get, replace (the version that was read or recovered last, with secret-2),
// delete, recover, purge, or one of others, which somebody else does.
func Operate(t *testing.T, w secretstore.Writer, others map[string]func(accessToken string), steps ...string) (got []string) {
	t.Helper()
	o := operator{w: w}
	for _, step := range steps {
		op, accessToken, _ := strings.Cut(step, " ")
		if do := others[op]; do != nil {
			do(accessToken)
			continue
		}
		said, err := o.do(t.Context(), op, accessToken)
		if said == "" {
			said = Said(err)
		}
		got = append(got, said)
	}
	return got
}

// operator remembers the last version that it has seen.
type operator struct {
	w       secretstore.Writer
	version string
}

func (o *operator) do(ctx context.Context, op, accessToken string) (said string, err error) {
	switch op {
	case "create":
		return "", o.w.Create(ctx, accessToken, []byte(Record(accessToken, "secret-1")))
	case "replace":
		return "", o.w.Replace(ctx, accessToken, []byte(Record(accessToken, "secret-2")), o.version)
	case "delete":
		return "", o.w.Delete(ctx, accessToken)
	case "purge":
		return "", o.w.Purge(ctx, accessToken)
	case "recover":
		o.version, err = o.w.Recover(ctx, accessToken)
		return "", err
	case "get":
		d, err := o.w.Get(ctx, accessToken)
		if err != nil {
			return "", err
		}
		o.version = d.Version
		if d.Disabled {
			return "disabled", nil
		}
		return string(d.Record), nil
	}
	return "", fmt.Errorf("there is no operation %q", op)
}

// Said is the result of a store's method in a few words.
func Said(err error) string {
	var conflict *secretstore.Conflict
	var absent *secretstore.Absent
	var failure *secretstore.Failure
	switch {
	case errors.As(err, &conflict):
		return "conflict: " + string(conflict.Reason)
	case errors.As(err, &absent):
		return "absent: " + string(absent.Reason)
	case errors.As(err, &failure):
		return "failure: " + failure.Reason
	case err != nil:
		return err.Error()
	}
	return "done"
}
