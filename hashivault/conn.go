package hashivault

import (
	"bytes"
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
	loginNamespace string      // the namespace of the login
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
		// Everything else is set above, so the cause must be a variable.
		return nil, fmt.Errorf("%w: a VAULT_* variable of the environment can't be read, although it would not be used (unset it): %w", secretstore.ErrConfig, err)
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

// get requests a path, which has no escapes and no /v1/. An error is about the
// connection and never contains the path.
func (c *conn) get(ctx context.Context, token, path string) (*answer, error) {
	return c.send(ctx, http.MethodGet, c.namespace, token, path)
}

// getVersion is get for a version in a KV v2 engine. An empty version is the current one.
func (c *conn) getVersion(ctx context.Context, token, path, version string) (*answer, error) {
	u := c.base
	u.Path += "/v1/" + path
	if version != "" {
		u.RawQuery = url.Values{"version": {version}}.Encode()
	}
	return c.sendTo(ctx, http.MethodGet, c.namespace, token, &u)
}

// sendAuth sends a request about the login or its token, in the namespace of the
// login.
func (c *conn) sendAuth(ctx context.Context, method, token, path string) (*answer, error) {
	return c.send(ctx, method, c.loginNamespace, token, path)
}

// list requests the names in a folder. It uses GET, since many proxies don't know
// the method LIST.
func (c *conn) list(ctx context.Context, token, folder string, excludeDeleted bool) (*answer, error) {
	u := c.base
	u.Path, u.RawQuery = u.Path+"/v1/"+folder+"/", "list=true"
	if excludeDeleted {
		u.RawQuery += "&exclude_deleted=true"
	}
	return c.sendTo(context.WithValue(ctx, bodyLimitKey{}, maxListing), http.MethodGet, c.namespace, token, &u)
}

func (c *conn) send(ctx context.Context, method, namespace, token, path string) (*answer, error) {
	// Not vault/api's NewRequest: it would clean the path, and .. would leave the
	// mount.
	u := c.base
	u.Path += "/v1/" + path
	return c.sendTo(ctx, method, namespace, token, &u)
}

// write sends a body. wrap is how long Vault shall keep the answer for whoever
// unwraps it; 0: not at all.
func (c *conn) write(ctx context.Context, method, token, path string, body []byte, wrap time.Duration) (*answer, error) {
	u := c.base
	u.Path += "/v1/" + path
	req := c.request(ctx, method, c.namespace, token, &u)
	if body != nil {
		req.ContentLength = int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil } // for a standby's redirect
		req.Body, _ = req.GetBody()
		req.Header.Set("Content-Type", "application/json")
	}
	if wrap > 0 {
		req.Header.Set("X-Vault-Wrap-TTL", strconv.Itoa(int(wrap.Seconds())))
	}
	return c.do(req)
}

func (c *conn) sendTo(ctx context.Context, method, namespace, token string, u *url.URL) (*answer, error) {
	return c.do(c.request(ctx, method, namespace, token, u))
}

func (c *conn) request(ctx context.Context, method, namespace, token string, u *url.URL) *http.Request {
	req := (&http.Request{Method: method, URL: u, Host: u.Host, Header: c.headerIn(namespace)}).WithContext(ctx)
	if token != "" {
		req.Header.Set(api.AuthHeaderName, token)
	}
	return req
}

func (c *conn) do(req *http.Request) (*answer, error) {
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

// decode parses the answer, and reports whether it can be one of Vault's.
func (a *answer) decode() (r reply, ok bool) {
	ok = !a.truncated && json.Unmarshal(a.body, &r) == nil
	return r, ok && bytes.HasPrefix(bytes.TrimSpace(a.body), []byte("{"))
}
