package azurevault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

// tokens is a credential made of a function.
type tokens func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error)

func (f tokens) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return f(ctx, o)
}

// issuer is a credential whose tokens are numbered and valid for an hour.
type issuer struct {
	delay   time.Duration // what getting one takes
	err     error         // instead of one
	refresh time.Duration // when to renew it; 0: not said
	asked   []policy.TokenRequestOptions
}

func (i *issuer) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	i.asked = append(i.asked, o)
	n := len(i.asked)
	select {
	case <-time.After(i.delay):
	case <-ctx.Done():
		return azcore.AccessToken{}, ctx.Err()
	}
	token := azcore.AccessToken{Token: fmt.Sprint("token ", n), ExpiresOn: time.Now().Add(time.Hour)}
	if i.refresh != 0 {
		token.RefreshOn = time.Now().Add(i.refresh)
	}
	return token, i.err
}

const scope = "https://vault.azure.net/.default"

// bubble runs f with a login whose time is simulated.
func bubble(t *testing.T, i *issuer, f func(l *login, logged *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		l := newLogin(credentialSource{TokenCredential: i, method: "client_secret"}, scope, slog.New(slog.NewTextHandler(&logged, nil)))
		defer l.close()
		f(l, &logged)
	})
}

// wait is the token, or why there is none.
func wait(l *login, patience time.Duration) string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	token, err := l.wait(ctx)
	if err != nil {
		return outcome(nil, err)
	}
	return token
}

func TestTokensAreRenewedAheadOfTheirEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		refresh, due time.Duration
	}{
		"when their issuer says":  {20 * time.Minute, 20 * time.Minute},
		"or a few minutes before": {0, time.Hour - renewAhead},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{refresh: tt.refresh, delay: time.Second}
			bubble(t, i, func(l *login, _ *bytes.Buffer) {
				got := []string{wait(l, time.Minute)}
				time.Sleep(tt.due - time.Millisecond)
				got = append(got, wait(l, time.Minute))
				time.Sleep(time.Millisecond)
				got = append(got, wait(l, 0)) // the old one, at once
				time.Sleep(2 * time.Second)
				got = append(got, wait(l, 0))
				if diff := cmp.Diff([]string{"token 1", "token 1", "token 1", "token 2"}, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestATokenIsUsedToItsEndWhileItCannotBeRenewed(t *testing.T) {
	i := &issuer{}
	bubble(t, i, func(l *login, logged *bytes.Buffer) {
		got := []string{wait(l, time.Minute)}
		i.err = errors.New("AADSTS7000222: expired")
		time.Sleep(time.Hour - time.Minute)
		for range 3 { // one try for all of them
			got = append(got, wait(l, time.Second))
			synctest.Wait()
		}
		time.Sleep(time.Minute)
		got = append(got, wait(l, time.Second))
		i.err = nil
		got = append(got, wait(l, time.Second))
		want := []string{"token 1", "token 1", "token 1", "token 1", "failure: login", "token 4"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if n := strings.Count(logged.String(), "can't be renewed"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, logged)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	i := &issuer{delay: 3 * time.Second}
	bubble(t, i, func(l *login, _ *bytes.Buffer) {
		first := make(chan string)
		go func() { first <- wait(l, 2*time.Second) }()
		time.Sleep(time.Second)
		// The login goes on when who began it has given up.
		got := []string{wait(l, 500*time.Millisecond), <-first, wait(l, 2*time.Second)}
		if diff := cmp.Diff([]string{"failure: timeout", "failure: timeout", "token 1"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestHangingLoginIsGivenUp(t *testing.T) {
	i := &issuer{delay: time.Hour}
	bubble(t, i, func(l *login, _ *bytes.Buffer) {
		start := time.Now()
		if got := wait(l, time.Minute); got != "failure: timeout" || time.Since(start) != loginTimeout {
			t.Errorf("got %q after %v", got, time.Since(start))
		}
		i.delay = 0
		if got := wait(l, time.Minute); got != "token 2" {
			t.Errorf("got %q", got)
		}
	})
}

func TestARefusedTokenIsReplacedByOneIssuedSince(t *testing.T) {
	i := &issuer{}
	bubble(t, i, func(l *login, _ *bytes.Buffer) {
		wait(l, time.Second)
		got := []bool{
			l.refused("token 0"), // has been replaced already
			l.refused("token 1"),
		}
		wait(l, time.Second)
		got = append(got, l.refused("token 2")) // that didn't help
		time.Sleep(renewalPause)
		got = append(got, l.refused("token 2"))
		if diff := cmp.Diff([]bool{true, true, false, true}, got); diff != "" {
			t.Error(diff)
		}
		want := []policy.TokenRequestOptions{
			{Scopes: []string{scope}, EnableCAE: true},
			{Scopes: []string{scope}, EnableCAE: true, Claims: `{"access_token":{"nbf":{"essential":true,"value":"946684800"}}}`},
		}
		if diff := cmp.Diff(want, i.asked); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSDKGetsTheCurrentTokenAndNeverWaits(t *testing.T) {
	i := &issuer{}
	bubble(t, i, func(l *login, _ *bytes.Buffer) {
		ask := func(o policy.TokenRequestOptions) string {
			token, err := l.GetToken(context.Background(), o)
			return fmt.Sprint(token.Token, err)
		}
		mine := []string{scope}
		got := []string{ask(policy.TokenRequestOptions{Scopes: mine})}
		wait(l, time.Second)
		got = append(got,
			ask(policy.TokenRequestOptions{Scopes: mine}),
			ask(policy.TokenRequestOptions{Scopes: []string{"https://graph.microsoft.com/.default"}}),
			ask(policy.TokenRequestOptions{Scopes: mine, Claims: "{}"}),
		)
		want := []string{
			errTokenRefused.Error(), "token 1<nil>",
			errNotKeyVault.Error() + ": it asks for an access token that isn't for key vaults", errTokenRefused.Error(),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		l.refused("token 1")
		wait(l, time.Second)
		if claims := i.asked[len(i.asked)-1].Claims; claims != "{}" {
			t.Errorf("asked for a token with the claims %q, not those of Key Vault", claims)
		}
	})
}

var _ secretstore.Store = (*store)(nil)

func TestEndOfTheLoginIsKnown(t *testing.T) {
	bubble(t, &issuer{}, func(l *login, _ *bytes.Buffer) {
		if got := l.ends(); !got.IsZero() {
			t.Errorf("before the first login: %s", got)
		}
		end := time.Now().Add(time.Hour)
		wait(l, time.Minute)
		s := &store{login: l}
		if got := s.LoginEnds(); !got.Equal(end) {
			t.Errorf("%s, want %s", got, end)
		}
	})
}
