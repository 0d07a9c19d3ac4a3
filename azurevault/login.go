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
	// loginTimeout limits one login. It is longer than the deadline of a lookup,
	// since a managed identity can take seconds for its first token.
	loginTimeout = 10 * time.Second
	// renewalPause is the pause between two attempts to renew a token that still works,
	// and between two attempts to replace one that Key Vault refuses.
	renewalPause = 30 * time.Second
	// renewAhead is how long before its expiry a token is renewed if its issuer
	// hasn't said when to. The SDK's own cache drops it at the same time.
	renewAhead = 5 * time.Minute
)

// login holds the access token that all reads of a store share. It gets the token in
// the background, once for all who wait and even if they give up, and renews it
// before it expires.
//
// It is the azcore.TokenCredential of the key vault's client; see GetToken.
type login struct {
	op    string // for messages
	cred  credentialSource
	scope string
	log   *slog.Logger
	life  context.Context // ends with the store
	close context.CancelFunc

	mu        sync.Mutex
	token     azcore.AccessToken // the current one; its Token is empty if there is none
	pending   *pendingLogin      // nil if no login is in progress
	renewNext time.Time          // the earliest time of the next attempt to renew a valid token
	refusedAt time.Time          // when Key Vault last refused a token
	claims    string             // that Key Vault demands of the next token; see refused
}

// pendingLogin is a login in progress.
type pendingLogin struct {
	attempt attempt
	done    chan struct{}
	token   azcore.AccessToken   // valid when done is closed
	err     *secretstore.Failure // the same; nil: there is a token
}

func newLogin(cred credentialSource, scope string, log *slog.Logger) *login {
	l := &login{op: "login with " + cred.method, cred: cred, scope: scope, log: log}
	l.life, l.close = context.WithCancel(context.Background())
	return l
}

// wait returns the text of a valid token, and waits for a login if there is none. It
// ends with ctx. Its errors are *secretstore.Failure.
func (l *login) wait(ctx context.Context) (string, error) {
	l.mu.Lock()
	now := time.Now()
	valid := l.token.Token != "" && now.Before(l.token.ExpiresOn)
	if l.pending == nil && (!valid || l.renewalDue(now)) {
		l.renewNext = now.Add(renewalPause)
		l.pending = l.start(l.claims, valid)
	}
	token, f := l.token.Token, l.pending
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

// ends is when the current token expires. It is zero if there is none.
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

// start begins a login. ahead says that nobody waits for it.
func (l *login) start(claims string, ahead bool) *pendingLogin {
	f := &pendingLogin{done: make(chan struct{})}
	go func() {
		ctx, cancel := context.WithTimeout(context.WithValue(l.life, attemptKey{}, &f.attempt), loginTimeout)
		defer cancel()
		var err error
		f.token, err = l.cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{l.scope}, EnableCAE: true, Claims: claims})
		if err != nil {
			f.err = l.failure(ctx, err, &f.attempt)
			// No request was sent, so Key Vault's refusal of the last token remains valid.
			f.err.LoginRefused = f.err.LoginRefused || f.err.Reason == "file" && claims != ""
		}
		l.mu.Lock()
		l.pending = nil
		if err == nil {
			l.token, l.claims = f.token, ""
		}
		l.mu.Unlock()
		close(f.done)
		if ahead && f.err != nil && l.life.Err() == nil {
			l.log.Warn("the access token can't be renewed; the current one is used until it expires",
				"reason", f.err.Reason, "err", f.err)
		}
	}()
	return f
}

// tooLong is the failure of a wait that ended before the login did.
func (l *login) tooLong(ctx context.Context, f *pendingLogin) *secretstore.Failure {
	host, _ := f.attempt.last()
	failure := transportFailure(l.op, cmp.Or(host, noHost), ctx.Err())
	if host == imdsHost {
		failure.Remedy = remedyIMDS
	}
	return failure
}

// withToken gets an access token before a call, because the SDK ignores deadlines
// while it waits for one. If Key Vault refuses the token, it repeats the call once
// with a new one.
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

// GetToken returns the current token and never waits: while the SDK asks for one, all
// its calls wait, and ignore their deadlines. It returns errTokenRefused if there is
// none, or if Key Vault demands another one.
func (l *login) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if !slices.Equal(o.Scopes, []string{l.scope}) {
		return azcore.AccessToken{}, fmt.Errorf("%w: it asks for an access token that isn't for key vaults", errNotKeyVault)
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

// refused records that Key Vault refused a token before its expiry. It reports
// whether a retry with another token makes sense.
//
// The SDK caches tokens until they expire, and returns the same one unless claims are
// requested. These are the claims that Key Vault demanded or, if it demanded none,
// those of Entra's continuous access evaluation: a token issued from now on.
func (l *login) refused(token string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.token.Token != token {
		return true // it has been replaced in the meantime
	}
	now := time.Now()
	if now.Sub(l.refusedAt) < renewalPause {
		return false // the previous one was refused as well
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
