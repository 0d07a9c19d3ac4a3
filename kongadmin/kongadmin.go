// Package kongadmin looks up consumers and plugin configurations in Kong's Admin API.
package kongadmin

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/kong/go-kong/kong"

	"kong-vault-auth/securefile"
)

// The variables that say where the Admin API is.
const (
	urlVariable         = "KONG_ADMIN_URL"
	tokenVariable       = "KONG_ADMIN_TOKEN"
	tokenFileVariable   = "KONG_ADMIN_TOKEN_FILE"
	tokenHeaderVariable = "KONG_ADMIN_TOKEN_HEADER"
	caVariable          = "KONG_ADMIN_CA_CERT"
	workspaceVariable   = "KONG_ADMIN_WORKSPACE"
)

const (
	maxFile       = 1 << 20
	defaultHeader = "Kong-Admin-Token"
)

// Client is a client of one Admin API.
type Client struct {
	kong  *kong.Client
	host  string
	token string // no error may contain it
}

// ErrNoConsumer is matched by the error of Consumer if Kong has no such consumer.
var ErrNoConsumer = errors.New("there is no such consumer in Kong")

// Failure means that the Admin API could not answer the question.
type Failure struct {
	Refused bool // it has answered, and refuses this program
	text    string
}

// Error includes the remedy.
func (f *Failure) Error() string { return f.text }

// New returns a client of the Admin API that the environment names, or nil if it names
// none.
func New(getenv func(string) string) (*Client, error) {
	base := getenv(urlVariable)
	if base == "" {
		return nil, nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%s must be like https://kong-admin.example.com:8444", urlVariable)
	}
	token, err := readToken(getenv)
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if file := getenv(caVariable); file != "" {
		pem, err := securefile.Read(file, securefile.Anybody, maxFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", caVariable, err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: %s holds no certificate", caVariable, file)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	client := &http.Client{
		Transport: withHeader{transport, cmp.Or(getenv(tokenHeaderVariable), defaultHeader), token},
		Timeout:   10 * time.Second,
		// A redirect would take the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	k, err := kong.NewClient(&base, client)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", urlVariable, err)
	}
	k.SetWorkspace(getenv(workspaceVariable))
	return &Client{kong: k, host: u.Host, token: token}, nil
}

func readToken(getenv func(string) string) (string, error) {
	file := getenv(tokenFileVariable)
	if file == "" {
		return getenv(tokenVariable), nil
	}
	b, err := securefile.Read(file, securefile.Group, maxFile)
	if err != nil {
		return "", fmt.Errorf("%s: %w", tokenFileVariable, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// withHeader adds the token to each request.
type withHeader struct {
	next        http.RoundTripper
	name, value string
}

func (h withHeader) RoundTrip(req *http.Request) (*http.Response, error) {
	if h.value != "" {
		req = req.Clone(req.Context())
		req.Header.Set(h.name, h.value)
	}
	return h.next.RoundTrip(req)
}

// Consumer is a consumer in Kong.
type Consumer struct{ ID, Username, CustomID string }

// Consumer finds a consumer by id, username or custom_id, in this order.
func (c *Client) Consumer(ctx context.Context, name string) (*Consumer, error) {
	escaped := url.PathEscape(name) // go-kong doesn't escape it
	found, err := c.kong.Consumers.Get(ctx, &escaped)
	if kong.IsNotFoundErr(err) {
		found, err = c.kong.Consumers.GetByCustomID(ctx, &name)
	}
	switch {
	case kong.IsNotFoundErr(err):
		return nil, fmt.Errorf("%w: no id, username or custom_id is %q at %s (create it there first, or unset %s)", ErrNoConsumer, name, c.host, urlVariable)
	case err != nil:
		return nil, c.explain(err)
	}
	got := &Consumer{ID: text(found.ID), Username: text(found.Username), CustomID: text(found.CustomID)}
	if uuid.Validate(got.ID) != nil {
		return nil, &Failure{text: fmt.Sprintf("%s: the answer is not one of Kong's Admin API (check %s)", c.host, urlVariable)}
	}
	return got, nil
}

// explain adds the remedy to an error of the Admin API.
func (c *Client) explain(err error) error {
	var answer *kong.APIError
	var remedy string
	f := &Failure{}
	switch {
	case errors.As(err, &answer) && (answer.Code() == http.StatusUnauthorized || answer.Code() == http.StatusForbidden):
		f.Refused = true
		remedy = fmt.Sprintf("check %s, and %s if the header isn't %s", tokenVariable, tokenHeaderVariable, defaultHeader)
	case errors.As(err, &answer):
		remedy = "check " + urlVariable + ", and Kong's log"
	default:
		remedy = "check " + urlVariable + ", or unset it to store the consumer as it is given"
	}
	said := err.Error()
	if c.token != "" {
		said = strings.ReplaceAll(said, c.token, "…")
	}
	f.text = fmt.Sprintf("the Admin API of Kong at %s: %.300s (%s)", c.host, said, remedy)
	return f
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// PluginsOfVault returns the ids of the plugin configurations that name a vault object, at
// most ten of them.
func (c *Client) PluginsOfVault(ctx context.Context, object string) (ids []string, err error) {
	all, err := c.kong.Plugins.ListAll(ctx)
	if err != nil {
		return nil, c.explain(err)
	}
	for _, p := range all {
		if p.Config["vault"] == object && len(ids) < 10 {
			ids = append(ids, text(p.ID))
		}
	}
	return ids, nil
}
