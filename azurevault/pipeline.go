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

// maxConns is the maximum number of concurrent lookups of a vault object. With HTTP/2,
// which Azure supports, one connection is enough, but until there is one, each lookup
// opens its own.
const maxConns = 64

// newTransport honours HTTPS_PROXY and the other proxy settings, and detects a dead
// connection within seconds (the SDK's own transport needs fifteen).
//
// reach applies only to key vaults: the cloud prescribes the endpoints of logins, and
// that of virtual machines is link-local.
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
// logins. It follows no redirects: Azure sends none, and following one could send
// access tokens elsewhere.
func newHTTPClient(t http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// redialing is an http.Transport whose connections can be abandoned while they are
// in use.
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

// CloseIdleConnections abandons all connections: idle ones are closed now, those in
// use once they are idle. In HTTP/2 one connection serves all requests, and under
// load it is never idle.
func (r *redialing) CloseIdleConnections() {
	r.current.Swap(r.current.Load().Clone()).CloseIdleConnections()
}

// clientOptions are the options of all the SDK's clients. The SDK's default retries
// take up to a minute, and sleep for as long as Retry-After says. These take half a
// second, and leave Retry-After to the cache.
func clientOptions(c cloud.Configuration, userAgent string, client *http.Client) azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud:     c,
		Transport: client,
		Retry: policy.RetryOptions{
			MaxRetries:    2,
			RetryDelay:    100 * time.Millisecond,
			MaxRetryDelay: 400 * time.Millisecond,
			ShouldRetry:   isTransient,
		},
		PerCallPolicies:  []policy.Policy{named(userAgent)},
		PerRetryPolicies: []policy.Policy{attemptRecorder{}},
	}
}

// isTransient reports whether an immediate retry is likely to succeed.
func isTransient(resp *http.Response, err error) bool {
	if err != nil {
		var untrusted *tls.CertificateVerificationError
		var dns *net.DNSError
		var reach *secretstore.ReachError
		return !errors.As(err, &untrusted) && !errors.As(err, &reach) && !(errors.As(err, &dns) && dns.IsNotFound)
	}
	transient := []int{http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	return slices.Contains(transient, resp.StatusCode) && retryAfter(resp.Header) == 0
}

// named puts our name before the SDK's in User-Agent. The SDK's own setting truncates
// names after 24 characters.
type named string

func (n named) Do(req *policy.Request) (*http.Response, error) {
	if h := req.Raw().Header; n != "" {
		h.Set("User-Agent", string(n)+" "+h.Get("User-Agent"))
	}
	return req.Next()
}
