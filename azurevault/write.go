package azurevault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/clock"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// writer is a store that can also write, with an operator's login.
type writer struct{ *store }

// OpenWriter is Open for an operator's login.
func OpenWriter(cfg Config, o secretstore.OpenOptions) (secretstore.Writer, error) {
	s, err := Open(cfg, o)
	if err != nil {
		return nil, err
	}
	return writer{s.(*store)}, nil
}

// The role, or the permissions, that an operator's login needs.
const (
	writerRole  = "Key Vault Secrets Officer"
	writerNeeds = "get list set delete recover purge"
)

// begin begins an operation on one secret. The name is not that of the read, because here
// a 403 is about the login, and never a negative answer.
func (w writer) begin(ctx context.Context, op, accessToken string) (_ context.Context, r *read, name string) {
	ctx, r = w.store.begin(ctx, read{op: op + " " + w.shown(accessToken), needs: writerNeeds, role: writerRole})
	return ctx, r, secretName(w.cfg.NamePrefix, accessToken)
}

// Get implements secretstore.Writer.
func (w writer) Get(ctx context.Context, accessToken string) (*secretstore.Document, error) {
	ctx, r, name := w.begin(ctx, "read", accessToken)
	d, err := w.get(ctx, r, name)
	if !secretstore.IsAbsent(err, secretstore.ReasonNotFound) {
		return d, err
	}
	// Key Vault answers for a deleted secret as for a missing one.
	if _, errDeleted := r.deleted(ctx, name); errDeleted == nil {
		return nil, &secretstore.Absent{Reason: secretstore.ReasonDeleted}
	}
	return nil, err
}

func (w writer) get(ctx context.Context, r *read, name string) (*secretstore.Document, error) {
	secret, err := r.getSecret(ctx, name, "")
	switch {
	case secretstore.IsAbsent(err, secretstore.ReasonDisabled):
		return &secretstore.Document{Version: disabledVersion, Disabled: true}, nil
	case err != nil:
		return nil, err
	}
	d := &secretstore.Document{Version: secret.ID.Version(), Record: []byte(*secret.Value)}
	if w.cfg.Base64Decode {
		if d.Record, err = base64.StdEncoding.DecodeString(strings.TrimSpace(*secret.Value)); err != nil {
			d.Record = nil // it is not a record, but it can be replaced or deleted
		}
	}
	if secret.Attributes.Updated != nil {
		d.Updated = *secret.Attributes.Updated
	}
	return d, nil
}

// Create implements secretstore.Writer.
func (w writer) Create(ctx context.Context, accessToken string, record []byte) error {
	ctx, r, name := w.begin(ctx, "create", accessToken)
	_, err := w.get(ctx, r, name)
	switch {
	case err == nil:
		return &secretstore.Conflict{Op: r.op, Reason: secretstore.ConflictExists}
	case !secretstore.IsAbsent(err, secretstore.ReasonNotFound):
		return err
	}
	return w.set(ctx, r, name, record)
}

// Replace implements secretstore.Writer.
func (w writer) Replace(ctx context.Context, accessToken string, record []byte, version string) error {
	ctx, r, name := w.begin(ctx, "replace", accessToken)
	d, err := w.get(ctx, r, name)
	switch {
	case err != nil:
		return err
	case d.Version != version:
		return &secretstore.Conflict{Op: r.op, Reason: secretstore.ConflictChanged}
	}
	return w.set(ctx, r, name, record)
}

// disabledVersion stands for the version of a disabled secret, which can't be read.
const disabledVersion = "disabled"

// SecretName implements secretstore.Namer.
func (w writer) SecretName(accessToken string) (name string, isToken bool) {
	name = secretName(w.cfg.NamePrefix, accessToken)
	return name, name == w.cfg.NamePrefix+accessToken
}

// maxValue is the largest size of a secret's value, in bytes.
const maxValue = 25 << 10

// CheckSize implements secretstore.Namer.
func (w writer) CheckSize(record []byte) error {
	size := len(record)
	if w.cfg.Base64Decode {
		size = base64.StdEncoding.EncodedLen(size)
	}
	if size <= maxValue {
		return nil
	}
	return &credential.UnusableError{
		Reason: "size", Detail: fmt.Sprintf("it takes %d bytes, and Key Vault keeps at most %d in a secret", size, maxValue),
		Remedy: "shorten groups, allowed_ips or description",
	}
}

func (w writer) set(ctx context.Context, r *read, name string, record []byte) error {
	if err := w.CheckSize(record); err != nil {
		return err
	}
	value, kind := string(record), "application/json"
	if w.cfg.Base64Decode {
		value, kind = base64.StdEncoding.EncodeToString(record), "application/base64"
	}
	_, err := withToken(ctx, r.login, func() (azsecrets.SetSecretResponse, error) {
		return r.client.SetSecret(ctx, name, azsecrets.SetSecretParameters{Value: &value, ContentType: &kind}, nil)
	})
	return r.explainWrite(ctx, err)
}

// Delete implements secretstore.Writer. It disables the secret first, so that a revoked
// credential stays invalid if its secret is recovered.
func (w writer) Delete(ctx context.Context, accessToken string) error {
	ctx, r, name := w.begin(ctx, "delete", accessToken)
	disabled := false
	_, err := withToken(ctx, r.login, func() (azsecrets.UpdateSecretPropertiesResponse, error) {
		return r.client.UpdateSecretProperties(ctx, name, "", azsecrets.UpdateSecretPropertiesParameters{
			SecretAttributes: &azsecrets.SecretAttributes{Enabled: &disabled},
		}, nil)
	})
	if err == nil {
		_, err = withToken(ctx, r.login, func() (azsecrets.DeleteSecretResponse, error) { return r.client.DeleteSecret(ctx, name, nil) })
	}
	return r.explainWrite(ctx, err)
}

// Recover implements secretstore.Writer.
func (w writer) Recover(ctx context.Context, accessToken string) (version string, err error) {
	ctx, r, name := w.begin(ctx, "recover", accessToken)
	_, err = withToken(ctx, r.login, func() (azsecrets.RecoverDeletedSecretResponse, error) {
		return r.client.RecoverDeletedSecret(ctx, name, nil)
	})
	if err != nil {
		return "", r.explainWrite(ctx, err)
	}
	err = r.until(ctx, func() (bool, error) {
		d, err := w.get(ctx, r, name)
		if err == nil {
			version = d.Version
		}
		return err == nil, withoutAbsent(err)
	})
	return version, err
}

func withoutAbsent(err error) error {
	if secretstore.IsAbsent(err, secretstore.ReasonNotFound) {
		return nil
	}
	return err
}

// Purge implements secretstore.Writer. In Key Vault it takes some seconds until a
// deletion, or a purge, can be seen.
func (w writer) Purge(ctx context.Context, accessToken string) error {
	ctx, r, name := w.begin(ctx, "purge", accessToken)
	settled, cancel := context.WithTimeout(ctx, deletionTime)
	defer cancel()
	var err error
	_ = r.until(settled, func() (bool, error) {
		_, err = withToken(ctx, r.login, func() (azsecrets.PurgeDeletedSecretResponse, error) {
			return r.client.PurgeDeletedSecret(ctx, name, nil)
		})
		err = r.explainWrite(ctx, err)
		return !secretstore.IsAbsent(err, secretstore.ReasonNotFound) && !errors.As(err, new(*secretstore.Conflict)), nil
	})
	var failure *secretstore.Failure
	if errors.As(err, &failure) && failure.Reason == secretstore.Denied {
		failure.Remedy += "; a vault with purge protection purges nothing before its retention is over: recover the secret instead"
	}
	if err != nil {
		return err
	}
	return r.until(ctx, func() (bool, error) {
		_, err := r.deleted(ctx, name)
		return secretstore.IsAbsent(err, secretstore.ReasonNotFound), withoutAbsent(err)
	})
}

// deletionTime is how long Purge waits until a deletion can be seen.
const deletionTime = 20 * time.Second

// deleted reads a deleted secret.
func (r *read) deleted(ctx context.Context, name string) (azsecrets.DeletedSecret, error) {
	d, err := withToken(ctx, r.login, func() (azsecrets.GetDeletedSecretResponse, error) {
		return r.client.GetDeletedSecret(ctx, name, nil)
	})
	if err != nil {
		err = r.explain(ctx, err)
	}
	return d.DeletedSecret, err
}

// until calls ask, with growing pauses, until it reports true or an error.
func (r *read) until(ctx context.Context, ask func() (bool, error)) error {
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		if done, err := ask(); done || err != nil {
			return err
		}
		if !clock.Sleep(ctx, pause) {
			return r.failure("timeout", "Key Vault takes some seconds for this: check again later", "it was started and hasn't finished: %w", ctx.Err())
		}
	}
}

// Checked implements secretstore.Writer: Key Vault has no conditional writes.
func (w writer) Checked(context.Context) (bool, error) { return false, nil }

// Base64 implements secretstore.Writer: with base64_decode the whole value is in base64,
// so the writer itself encodes it.
func (w writer) Base64() bool { return false }

// Names implements secretstore.Writer.
func (w writer) Names(ctx context.Context, yield func([]secretstore.Name) error) error {
	ctx, r := w.store.begin(ctx, read{op: "list the secrets", needs: writerNeeds, role: writerRole})
	return r.pages(ctx, func(page []listed) error {
		out := make([]secretstore.Name, len(page))
		for i, p := range page {
			out[i] = secretstore.Name{AccessToken: p.name[len(w.cfg.NamePrefix):], Disabled: !*p.Attributes.Enabled}
			if p.Attributes.Created != nil {
				out[i].Created = *p.Attributes.Created
			}
			if p.Attributes.Updated != nil {
				out[i].Updated = *p.Attributes.Updated
			}
		}
		return yield(out)
	})
}

// explainWrite is explain for a write, which may be refused with a conflict.
func (r *read) explainWrite(ctx context.Context, err error) error {
	var response *azcore.ResponseError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &response) || response.RawResponse == nil || response.StatusCode != http.StatusConflict:
		return r.explain(ctx, err)
	}
	var body struct{ Error vaultError }
	payload, _ := runtime.Payload(response.RawResponse)
	if json.Unmarshal(payload, &body) != nil || body.Error.Code != "Conflict" {
		return r.explain(ctx, err)
	}
	c := &secretstore.Conflict{Op: r.op, Reason: secretstore.ConflictDeleted}
	switch body.Error.Inner.Code {
	case "ObjectIsDeletedButRecoverable":
		c.Remedy = fmt.Sprintf("Key Vault keeps deleted secrets, for 90 days by default, and their names: recover it, or purge it, which takes the permission purge and a vault without purge protection (az keyvault secret list-deleted --vault-name %s shows them)", r.endpoint.name)
	case "ObjectIsBeingDeleted", "ObjectIsBeingRecovered", "ObjectIsBeingPurged":
		c.Remedy = "Key Vault is still working on it: try again in some seconds"
	default:
		return r.explain(ctx, err)
	}
	return c
}
