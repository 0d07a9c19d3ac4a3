package hashivault

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hashicorp/vault/api"

	"kong-vault-auth/secretstore"
)

// loginTimeout bounds one login, and one renewal.
const loginTimeout = 10 * time.Second

// conn connects to one Vault: with plain requests for reads on behalf of clients,
// with vault/api for login and renewal, both over the same connections.
type conn struct {
	base           url.URL
	namespace      string      // of the secrets
	loginNamespace string      // of the login
	mount          string      // of the KV engine
	header         http.Header // of every request
	http           *http.Client
	api            *api.Client
	reload         func() error // see roundTripper
}

// answer is a response with its whole body.
type answer struct {
	status    int
	header    http.Header
	body      []byte
	truncated bool // it exceeded the limit; body is only its beginning
}

func newConn(s settings, userAgent string, t roundTripper) (*conn, error) {
	c := &conn{
		base:           s.base,
		namespace:      s.namespace,
		loginNamespace: s.loginNamespace,
		mount:          s.mount,
		// A Vault Agent demands X-Vault-Request, as a protection against request
		// forgery.
		header: http.Header{api.RequestHeaderName: {"true"}},
		http:   &http.Client{Transport: t, CheckRedirect: redirects(s.base.Path)},
		reload: t.reload,
	}
	if userAgent != "" {
		c.header.Set("User-Agent", userAgent)
	}
	var err error
	c.api, err = newAPIClient(c)
	return c, err
}

// newAPIClient makes a client of vault/api that ignores the environment. vault/api
// has no constructor that leaves VAULT_* unread, so the settings that it reads are
// reset.
func newAPIClient(c *conn) (*api.Client, error) {
	client, err := api.NewClient(&api.Config{
		Address:    c.base.String(),
		HttpClient: c.http,
		Timeout:    loginTimeout,
		// The store has its own retries and backoff.
		MaxRetries: 0,
		CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
		// CheckRedirect of the HTTP client decides.
		DisableRedirects: true,
	})
	if err != nil {
		// Everything else is set above, so a variable must be the cause.
		return nil, fmt.Errorf("%w: a VAULT_* variable of the environment is invalid (unset it; the plugin doesn't use it): %w", secretstore.ErrConfig, err)
	}
	client.SetHeaders(c.headerIn(c.loginNamespace))
	client.ClearToken()
	client.SetWrappingLookupFunc(func(string, string) string { return "" })
	return client, nil
}

// redial makes later requests open new connections. See secretstore.Redial.
func (c *conn) redial() { c.http.CloseIdleConnections() }

// headerIn is the header of a request in a namespace.
func (c *conn) headerIn(namespace string) http.Header {
	h := c.header.Clone()
	if namespace != "" {
		h.Set(api.NamespaceHeaderName, namespace)
	}
	return h
}

// request is one request to Vault.
type request struct {
	method string // empty: GET
	path   string // without /v1/, and without escapes
	query  url.Values
	token  string
	login  bool          // it is about the login or its token, so it is sent in the login's namespace
	body   []byte        // JSON; may be nil
	wrap   time.Duration // the ttl of a response-wrapping token in place of the answer; 0: none
}

// send sends a request. An error is about the connection and never contains the path.
func (c *conn) send(ctx context.Context, r request) (*answer, error) {
	// Not vault/api's NewRequest: it would clean the path, and .. would leave the
	// mount.
	u := c.base
	u.Path += "/v1/" + r.path
	u.RawQuery = r.query.Encode()
	namespace := c.namespace
	if r.login {
		namespace = c.loginNamespace
	}
	req := (&http.Request{Method: cmp.Or(r.method, http.MethodGet), URL: &u, Host: u.Host, Header: c.headerIn(namespace)}).WithContext(ctx)
	if r.token != "" {
		req.Header.Set(api.AuthHeaderName, r.token)
	}
	if r.body != nil {
		req.ContentLength = int64(len(r.body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.body)), nil } // for a standby's redirect
		req.Body, _ = req.GetBody()
		req.Header.Set("Content-Type", "application/json")
	}
	if r.wrap > 0 {
		req.Header.Set("X-Vault-Wrap-TTL", strconv.Itoa(int(r.wrap.Seconds())))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	truncated := errors.Is(err, errBodyTooLarge)
	if err != nil && !truncated {
		return nil, withoutURL(err)
	}
	return &answer{resp.StatusCode, resp.Header, body, truncated}, nil
}

// withoutURL removes the URL that net/http wraps its errors in, since it ends in
// the access token.
func withoutURL(err error) error {
	var u *url.Error
	for errors.As(err, &u) {
		err = u.Err
	}
	return err
}

// reply is the part of Vault's JSON answers that is used here.
type reply struct {
	Data     json.RawMessage `json:"data"`
	Errors   []string        `json:"errors"`
	Warnings []string        `json:"warnings"`
}

// decode parses the answer, and reports whether Vault can have sent it.
func (a *answer) decode() (r reply, ok bool) {
	ok = !a.truncated && json.Unmarshal(a.body, &r) == nil
	return r, ok && bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("{"))
}

// data decodes what the answer reports.
func (a *answer) data(v any) error {
	r, isVault := a.decode()
	if !isVault || !isObject(r.Data) || json.Unmarshal(r.Data, v) != nil {
		return errNotVault
	}
	return nil
}

// hasErrors reports whether this is an error answer of Vault itself, and not of a
// firewall or proxy.
func (a *answer) hasErrors() bool {
	r, isVault := a.decode()
	return isVault && len(r.Errors) > 0
}

// forbidden reports whether Vault itself answered 403.
func (a *answer) forbidden() bool { return a.status == http.StatusForbidden && a.hasErrors() }
