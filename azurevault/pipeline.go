package azurevault

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kong-vault-auth/secretstore"
)

// maxConns is how many lookups the cache has in flight at most. Azure speaks
// HTTP/2, where one connection does for all; but as long as there is none, each
// of them would open its own.
const maxConns = 64

// newTransport honours HTTPS_PROXY and its like, and finds out in seconds that a
// connection is dead (the SDK's own takes fifteen).
//
// reach is about key vaults only: logins go where the cloud has put them, which
// for virtual machines is a link-local address.
func newTransport(reach secretstore.Reach) *http.Transport {
	t := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSHandshakeTimeout: 5 * time.Second,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 5 * time.Second, PingTimeout: 2 * time.Second},
		MaxConnsPerHost:     maxConns,
		MaxIdleConnsPerHost: maxConns,
		IdleConnTimeout:     90 * time.Second,
	}
	reach.Guard(t, &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}, isKeyVault)
	return t
}

// newHTTPClient returns the client of one store, for the key vault and for
// logins. It follows no redirects: Azure sends none, and they would take access
// tokens elsewhere.
func newHTTPClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// redialing is an http.Transport whose connections can be left while they are in
// use.
type redialing struct {
	current atomic.Pointer[http.Transport]
}

func newRedialing(t *http.Transport) *redialing {
	r := &redialing{}
	r.current.Store(t)
	return r
}

// RoundTrip implements http.RoundTripper.
func (r *redialing) RoundTrip(req *http.Request) (*http.Response, error) {
	return r.current.Load().RoundTrip(req)
}

// CloseIdleConnections leaves all connections at hand, those that are in use as
// well, which close once they are idle. In HTTP/2 one connection serves all
// requests, and under load it is never idle.
func (r *redialing) CloseIdleConnections() {
	r.current.Swap(r.current.Load().Clone()).CloseIdleConnections()
}

// clientOptions are those of all the SDK's clients. Its own retries take up to
// a minute, and sleep for as long as a Retry-After says; ours are over in half a
// second, and a Retry-After is the cache's business.
func clientOptions(c cloud.Configuration, userAgent string, client *http.Client) azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud:     c,
		Transport: client,
		Retry: policy.RetryOptions{
			MaxRetries:    2,
			RetryDelay:    100 * time.Millisecond,
			MaxRetryDelay: 400 * time.Millisecond,
			ShouldRetry:   worthRetrying,
		},
		PerCallPolicies:  []policy.Policy{named(userAgent)},
		PerRetryPolicies: []policy.Policy{witness{}},
	}
}

// worthRetrying reports whether the same request may well succeed at once.
func worthRetrying(resp *http.Response, err error) bool {
	if err != nil {
		var untrusted *tls.CertificateVerificationError
		var dns *net.DNSError
		var reach *secretstore.ReachError
		return !errors.As(err, &untrusted) && !errors.As(err, &reach) && !(errors.As(err, &dns) && dns.IsNotFound)
	}
	passing := []int{http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	return slices.Contains(passing, resp.StatusCode) && retryAfter(resp.Header) == 0
}

// named puts our name before the SDK's in User-Agent. Its own setting for that
// cuts names off after 24 characters.
type named string

func (n named) Do(req *policy.Request) (*http.Response, error) {
	if h := req.Raw().Header; n != "" {
		h.Set("User-Agent", string(n)+" "+h.Get("User-Agent"))
	}
	return req.Next()
}
