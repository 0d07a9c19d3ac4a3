package azurevault

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/google/uuid"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// store is a secretstore.Store on one key vault with one identity.
type store struct {
	endpoint endpoint
	cfg      Config
	identity string // of the store
	log      *slog.Logger
	http     *http.Client
	redial   *secretstore.Redial
	client   *azsecrets.Client
	login    *login
	recent   secretstore.RecentReads
	closed   atomic.Bool
}

// Open returns the store that cfg describes. It does no network I/O: the login comes
// with the first read. Its errors match secretstore.ErrConfig.
//
// The record of an access token is in the secret cfg.NamePrefix + token. Names may
// have at most 127 characters: letters, digits and dashes. For a token that doesn't
// fit, the name is cfg.NamePrefix + "sha256-" + the token's SHA-256 in lower-case hex.
// Names ignore case, so one secret answers for all spellings of a token: users of a
// record must compare its AccessToken with the one that was presented.
//
// An object that the node did not define (o.TrustNode is false) gets nothing from the
// node's environment and files, with two exceptions, which reveal nothing to the
// author of the configuration: the machine's managed identity, and the workload
// identity token at the path where AKS mounts it. Their access tokens work only for
// the key vaults of one cloud, and are sent nowhere else.
func Open(cfg Config, o secretstore.OpenOptions) (secretstore.Store, error) {
	s, err := open(cfg, o, newHTTPClient(newRedialing(newTransport(o.Reach))))
	if err != nil {
		return nil, err // not s: as a Store it would not be nil
	}
	return s, nil
}

// open is Open with the HTTP client for all requests.
func open(cfg Config, o secretstore.OpenOptions, client *http.Client) (*store, error) {
	quietSDK()
	log := slog.New(slog.DiscardHandler)
	if o.Logger != nil {
		log = o.Logger.With("vault", o.Name)
	}
	s := &store{cfg: cfg, identity: o.Identity, log: log, http: client, redial: secretstore.NewRedial(client.CloseIdleConnections)}
	if err := s.connect(o); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *store) connect(o secretstore.OpenOptions) error {
	origin := secretstore.Origin{Node: o.TrustNode, Reach: o.Reach}
	if _, err := secretstore.Check(o.Name, &s.cfg, origin); err != nil {
		return err
	}
	p := &secretstore.Problems{Origin: origin} // Check has found none
	s.endpoint = s.cfg.endpoint(p)
	options := clientOptions(s.endpoint.cloud, o.UserAgent, s.http)
	s.login = newLogin(s.cfg.credential(p, options), s.endpoint.scope, s.log)
	var err error
	s.client, err = azsecrets.NewClient(s.endpoint.url, s.login, &azsecrets.ClientOptions{ClientOptions: options})
	return err
}

// quietSDK prevents the SDK from logging requests, whose URLs end in access tokens, even
// if AZURE_SDK_GO_LOGGING is set. It still logs messages about logins.
var quietSDK = sync.OnceFunc(func() { azlog.SetEvents(azidentity.EventAuthentication) })

// Key implements secretstore.Store.
func (s *store) Key(accessToken string) string { return s.cfg.key(accessToken) }

// LoginEnds is when the access token in use expires. It is renewed before.
func (s *store) LoginEnds() time.Time { return s.login.ends() }

// Read implements secretstore.Store. The record may be that of another spelling of
// the token.
func (s *store) Read(ctx context.Context, accessToken string) (*credential.Record, error) {
	ctx, r := s.begin(ctx, read{op: "read " + s.shown(accessToken), name: secretName(s.cfg.NamePrefix, accessToken), needs: "get"})
	if s.closed.Load() {
		return nil, r.closedFailure()
	}
	record, err := r.record(ctx)
	s.redial.After(err)
	return record, err
}

// record reads the record, and adds the secret token of the previous version.
func (r *read) record(ctx context.Context) (*credential.Record, error) {
	secret, err := r.get(ctx, "")
	if err != nil {
		return nil, err
	}
	record, err := r.parse(secret, time.Now())
	if err != nil {
		return nil, err
	}
	if err := r.addPrevious(ctx, secret, record); err != nil {
		return nil, err
	}
	return record, nil
}

// Close ends a login in progress. It revokes nothing: Entra's access tokens can't be
// revoked.
func (s *store) Close() error {
	s.closed.Store(true)
	s.login.close()
	s.http.CloseIdleConnections()
	return nil
}

var errClosed = errors.New("the store has been closed")

// readerRole is the role that may read and list secrets.
const readerRole = "Key Vault Secrets User"

// read is one operation, a Read or a List for example. All its requests carry the same
// id, which Azure's support asks for.
type read struct {
	*store
	op        string // for messages
	name      string // of the secret, with the access token in it; empty if a 403 is never about one name
	needs     string // the permissions in an access policy, as az expects them
	role      string // that has these permissions; empty: readerRole
	requestID string
}

// begin begins an operation.
func (s *store) begin(ctx context.Context, r read) (context.Context, *read) {
	r.store, r.requestID = s, uuid.NewString()
	return policy.WithHTTPHeader(ctx, http.Header{"X-Ms-Client-Request-Id": {r.requestID}}), &r
}

// shown is an access token's record in messages.
func (s *store) shown(accessToken string) string {
	return "kong-auth/" + credential.Fingerprint(credential.ID(s.identity, accessToken))
}

func (r *read) closedFailure() error {
	return &secretstore.Failure{Op: r.op, Reason: "closed", Err: errClosed}
}

// get reads a version of the secret, the current one if version is empty. Its
// errors are those of secretstore.Store.
func (r *read) get(ctx context.Context, version string) (azsecrets.Secret, error) {
	secret, err := r.getSecret(ctx, r.name, version)
	switch {
	case err == nil:
		r.recent.Note(r.name, time.Now())
	case isDenied(err):
		r.recent.Forget(r.name)
	}
	return secret, err
}

// getSecret requests a version of a secret. Its ID, Attributes and Value are set.
func (r *read) getSecret(ctx context.Context, name, version string) (azsecrets.Secret, error) {
	secret, err := withToken(ctx, r.login, func() (azsecrets.GetSecretResponse, error) {
		return r.client.GetSecret(ctx, name, version, nil)
	})
	if err == nil && (secret.ID == nil || secret.Attributes == nil || secret.Value == nil) {
		err = errNotKeyVault
	}
	if err != nil {
		return azsecrets.Secret{}, r.explain(ctx, err)
	}
	return secret.Secret, nil
}

// recovered turns a panic in the SDK into an error: azsecrets doesn't check the
// number of parts in the challenge of a 401.
func recovered[T any](call func() (T, error)) (result T, err error) {
	defer func() {
		if recover() != nil {
			err = errNotKeyVault
		}
	}()
	return call()
}
