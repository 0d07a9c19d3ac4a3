package hashivault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cloud.google.com/go/compute/metadata"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/aws/smithy-go"
	"golang.org/x/oauth2"

	"kong-vault-auth/secretstore"
)

// issuer is a service that issues what a login presents to Vault: an identity
// provider's token endpoint, a cloud's token service or metadata service.
type issuer struct {
	op     string   // what is requested, for messages
	host   string   // the service, for messages
	hint   string   // what to check when it refuses
	hidden []string // what must not be in a message
}

// maxIssued limits how much of an issuer's answer is read. A token has a few KiB.
const maxIssued = 64 << 10

// newIssuerClient is an HTTP client for issuers that a configuration names. It
// connects only where the object may, and follows no redirects, which could send
// client secrets elsewhere.
func newIssuerClient(reach secretstore.Reach) *http.Client {
	t := newIssuerTransport()
	reach.Guard(t, &net.Dialer{Timeout: 5 * time.Second}, nil)
	return withoutRedirects(t)
}

// newCloudClient is an HTTP client for hosts that a cloud prescribes. They may be
// link-local, so no Reach applies.
func newCloudClient() *http.Client { return withoutRedirects(newIssuerTransport()) }

func newIssuerTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSHandshakeTimeout: 5 * time.Second,
		ForceAttemptHTTP2:   true,
		// Logins are hours apart.
		IdleConnTimeout: 30 * time.Second,
	}
}

func withoutRedirects(t *http.Transport) *http.Client {
	return &http.Client{
		Transport:     t,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// send sends a request and decodes the JSON of a 200 into answer. An error is a
// *secretstore.Failure.
func (i issuer) send(client *http.Client, req *http.Request, answer any) error {
	resp, err := client.Do(req)
	if err != nil {
		return i.failure(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxIssued))
	switch {
	case err != nil:
		return i.failure(err)
	case resp.StatusCode != http.StatusOK:
		return i.refusal(resp.StatusCode, saidByIssuer(body))
	case json.Unmarshal(body, answer) != nil:
		return i.foreign()
	}
	return nil
}

// foreign is the failure of an answer that the issuer can't have sent.
func (i issuer) foreign() *secretstore.Failure {
	return &secretstore.Failure{
		Op: i.op, Reason: "unexpected", Err: errors.New("the answer is not one of " + i.host),
		Remedy: "check what answers for " + i.host + " here: a proxy or firewall may do so by itself",
	}
}

// refusal is the failure of an answer other than success. said is empty if the answer
// is not the issuer's own but, for example, a page of a proxy.
func (i issuer) refusal(status int, said string) *secretstore.Failure {
	f := i.foreign()
	f.Err = fmt.Errorf("%s answered %d%s", i.host, status, quote(i.redact(said)))
	switch {
	case status == http.StatusTooManyRequests:
		f.Reason, f.Remedy = "rate_limited", "check how many processes log in as this identity, and whether they restart continually"
	case status >= 500, status == http.StatusRequestTimeout:
		f.Reason, f.Remedy = "server", "check whether "+i.host+" reports an outage"
	case said != "":
		f.Reason, f.Remedy, f.LoginRefused = "login", i.hint, true
	}
	return f
}

// failure explains an error of one of the libraries that send requests to issuers.
func (i issuer) failure(err error) *secretstore.Failure {
	var (
		grant    *oauth2.RetrieveError
		entra    *azidentity.AuthenticationFailedError
		google   *metadata.Error
		noGoogle metadata.NotDefinedError
		amazon   smithy.APIError
		answered interface{ HTTPStatusCode() int }
	)
	switch {
	case errors.As(err, &grant):
		return i.refusal(grant.Response.StatusCode, saidByIssuer(grant.Body))
	case errors.As(err, &entra) && entra.RawResponse != nil:
		body, _ := runtime.Payload(entra.RawResponse) // which the SDK has read already
		return i.refusal(entra.RawResponse.StatusCode, saidByIssuer(body))
	case errors.As(err, &noGoogle):
		return i.refusal(http.StatusNotFound, "there is no such metadata")
	case errors.As(err, &google):
		return i.refusal(google.Code, saidByIssuer([]byte(google.Message)))
	case errors.As(err, &amazon) && errors.As(err, &answered):
		return i.refusal(answered.HTTPStatusCode(), amazon.ErrorCode()+": "+amazon.ErrorMessage())
	case errors.As(err, &answered) && answered.HTTPStatusCode() != 0:
		return i.refusal(answered.HTTPStatusCode(), "")
	}
	return i.unreachable(err)
}

// unreachable is the failure of an issuer that didn't answer, or that wasn't asked
// because the credentials for it are missing.
func (i issuer) unreachable(err error) *secretstore.Failure {
	var (
		network net.Error
		op      *net.OpError
		web     *url.Error
		reach   *secretstore.ReachError
	)
	if !errors.As(err, &network) && !errors.As(err, &op) && !errors.As(err, &web) && !errors.As(err, &reach) && !errors.Is(err, context.Canceled) {
		return &secretstore.Failure{Op: i.op, Reason: "login", Remedy: i.hint, Err: errors.New(strings.TrimPrefix(quote(i.redact(err.Error())), ": "))}
	}
	f := transportFailure(i.op, err)
	switch f.Reason {
	case "address", "canceled":
		return f
	case "tls":
		f.Remedy = "check that the CA of " + i.host + " is among the system's, or in SSL_CERT_FILE in the plugin server's environment"
	default:
		f.Remedy = "check that this node may connect to " + i.host + ", and HTTPS_PROXY and NO_PROXY in the plugin server's environment"
	}
	f.Err = fmt.Errorf("%s: %s", i.host, strings.TrimPrefix(quote(i.redact(withoutURL(err).Error())), ": "))
	return f
}

// saidByIssuer is the message in an error of OAuth2, Entra ID or Google, each of which
// has its own form of JSON. It is empty if the body has none of the three forms.
func saidByIssuer(body []byte) string {
	var e struct {
		Error       json.RawMessage `json:"error"`
		Description string          `json:"error_description"`
		Message     string          `json:"message"`
	}
	if json.Unmarshal(body, &e) != nil {
		return ""
	}
	var nested struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}
	code := ""
	if json.Unmarshal(e.Error, &nested) == nil {
		code, e.Message = nested.Status, nested.Message
	} else if json.Unmarshal(e.Error, &code) != nil {
		return ""
	}
	return strings.Trim(code+": "+e.Description+e.Message, ": ")
}

// tokenLike is what JWTs look like.
var tokenLike = regexp.MustCompile(`\beyJ[A-Za-z0-9_.-]+`)

func (i issuer) redact(text string) string {
	for _, secret := range i.hidden {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	return tokenLike.ReplaceAllString(text, "[token]")
}

// issuerURL checks the URL of an issuer that a configuration names, and returns its
// host. learns is what the issuer is sent.
func (c *checker) issuerURL(field, value, learns string) (host string) {
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		c.p.Add(field, "it must be a URL such as https://login.example.com/oauth/token, without a name and password")
		return ""
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme == "http" && u.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		c.p.Warn(field, "without TLS, anybody who can read the traffic learns %s; use https", learns)
	}
	return u.Hostname()
}
