package azurevault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kong-vault-auth/secretstore"
)

const (
	// loginTimeout bounds getting one access token. It is longer than a lookup
	// may take: who asked first may have given up when the token comes, and a
	// managed identity can take seconds for its first one.
	loginTimeout = 10 * time.Second
	// renewalPause is between two tries to renew a token that still works, and
	// between two tries to replace one that Key Vault refuses.
	renewalPause = 30 * time.Second
	// renewAhead is how long before its end a token is renewed whose issuer has
	// not said when. The SDK's own cache lets go of it at the same time.
	renewAhead = 5 * time.Minute
)

// login holds the access token that all reads of a store share. It is got in
// the background, once for everybody who waits for it and whatever becomes of
// them, and renewed ahead of its end while the present one is used.
//
// It is the azcore.TokenCredential that the key vault's client asks; see wait.
type login struct {
	op    string // for messages
	cred  credentialSource
	scope string
	log   *slog.Logger
	life  context.Context // ends with the store
	close context.CancelFunc

	mu        sync.Mutex
	token     azcore.AccessToken // the present one; its Token is empty when there is none
	flight    *flight            // the login under way, nil when there is none
	renewNext time.Time          // when the next try to renew ahead of the end may be made
	refusedAt time.Time          // when Key Vault last refused a token
	claims    string             // what Key Vault wants of the next token; see refused
}

// flight is a login under way.
type flight struct {
	attempt attempt
	done    chan struct{}
	token   azcore.AccessToken   // once done is closed
	err     *secretstore.Failure // the same; nil: there is a token
}

func newLogin(cred credentialSource, scope string, log *slog.Logger) *login {
	l := &login{op: "login with " + cred.method, cred: cred, scope: scope, log: log}
	l.life, l.close = context.WithCancel(context.Background())
	return l
}

// wait returns the text of a token that is valid, as soon as there is one. It
// ends with ctx. A failure is a *secretstore.Failure.
func (l *login) wait(ctx context.Context) (string, error) {
	l.mu.Lock()
	now := time.Now()
	valid := l.token.Token != "" && now.Before(l.token.ExpiresOn)
	if l.flight == nil && (!valid || l.renewalDue(now)) {
		l.renewNext = now.Add(renewalPause)
		l.flight = l.start(l.claims, valid)
	}
	token, f := l.token.Token, l.flight
	l.mu.Unlock()
	if valid {
		return token, nil
	}
	select {
	case <-f.done:
		if f.err != nil {
			return "", f.err
		}
		return f.token.Token, nil
	case <-ctx.Done():
		return "", l.tooLong(ctx, f)
	}
}

// ends is when the present token does; zero: there is none.
func (l *login) ends() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token.ExpiresOn
}

func (l *login) renewalDue(now time.Time) bool {
	due := l.token.RefreshOn
	if due.IsZero() {
		due = l.token.ExpiresOn.Add(-renewAhead)
	}
	return !now.Before(due) && !now.Before(l.renewNext)
}

// start gets a token. ahead says that nobody waits for it.
func (l *login) start(claims string, ahead bool) *flight {
	f := &flight{done: make(chan struct{})}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithValue(l.life, attemptKey{}, &f.attempt), loginTimeout)
		defer cancel()
		var err error
		f.token, err = l.cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{l.scope}, EnableCAE: true, Claims: claims})
		if err != nil {
			f.err = l.explain(ctx, err, &f.attempt)
			// Where nobody was asked, what Key Vault said of the last token stands.
			f.err.LoginRefused = f.err.LoginRefused || f.err.Reason == "file" && claims != ""
		}
		l.mu.Lock()
		l.flight = nil
		if err == nil {
			l.token, l.claims = f.token, ""
		}
		l.mu.Unlock()
		close(f.done)
		if ahead && f.err != nil && l.life.Err() == nil {
			l.log.Warn("the access token can't be renewed; the present one is used until its end",
				"reason", f.err.Reason, "err", f.err)
		}
	}()
	return f
}

// tooLong is a wait that ended before the login did.
func (l *login) tooLong(ctx context.Context, f *flight) *secretstore.Failure {
	host, _ := f.attempt.last()
	failure := transportFailure(l.op, cmp.Or(host, noHost), ctx.Err())
	if host == imdsHost {
		failure.Remedy = remedyIMDS
	}
	return failure
}

// withToken makes a call with an access token at hand, so that the SDK, which
// doesn't heed a deadline while it waits for one, need not wait. If Key Vault
// refuses the token, the call is made once more with a new one.
func withToken[T any](ctx context.Context, l *login, call func() (T, error)) (T, error) {
	for again := false; ; again = true {
		token, err := l.wait(ctx)
		if err != nil {
			var none T
			return none, err
		}
		result, err := recovered(call)
		if again || !isTokenRefused(err) || !l.refused(token) {
			return result, err
		}
	}
}

var errTokenRefused = errors.New("key vault refuses the access token")

// GetToken returns the present token and never waits: the SDK makes all calls
// wait while it asks for one, without heeding their deadlines. It returns
// errTokenRefused if there is none, or if Key Vault wants another one.
func (l *login) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if !slices.Equal(o.Scopes, []string{l.scope}) {
		return azcore.AccessToken{}, fmt.Errorf("%w: the challenge is for other tokens than those of key vaults", errNotKeyVault)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.Claims != "" {
		l.claims = o.Claims
	}
	if o.Claims != "" || l.token.Token == "" {
		return azcore.AccessToken{}, errTokenRefused
	}
	return l.token, nil
}

// refused says that Key Vault did not accept a token though its end has not
// come. It reports whether it is worth trying again with another one.
//
// The SDK keeps tokens for as long as they should be valid, and hands out the
// same one again unless certain claims are asked for. Those are what Key Vault
// asked for, or else what it would have, as Entra's continuous access evaluation
// defines it: a token issued from now on.
func (l *login) refused(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token.Token != token {
		return true // somebody has replaced it meanwhile
	}
	now := time.Now()
	if now.Sub(l.refusedAt) < renewalPause {
		return false // the one before was refused as well
	}
	l.refusedAt = now
	l.token = azcore.AccessToken{}
	if l.claims == "" {
		l.claims = fmt.Sprintf(`{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`, now.Unix())
	}
	return true
}

func isTokenRefused(err error) bool {
	var answer *azcore.ResponseError
	return errors.Is(err, errTokenRefused) || errors.As(err, &answer) && answer.StatusCode == http.StatusUnauthorized
}
