package azurevault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"time"

	"kong-vault-auth/secretstore"
)

// transportFailure is the failure of a request to host without an answer, or with one that
// the SDK couldn't parse. The SDK's errors contain the URL, and so the secret's name, so
// only errors of net/http are repeated.
func transportFailure(op, host string, err error) *secretstore.Failure {
	f := &secretstore.Failure{Op: op, Reason: "network", Remedy: "check that this node may connect to " + host + ", and HTTPS_PROXY and NO_PROXY in the plugin server's environment"}
	var (
		withURL   *url.Error
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		untrusted *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		netOp     *net.OpError
		timeout   interface{ Timeout() bool }
		reach     *secretstore.ReachError
	)
	fromNet := errors.As(err, &withURL)
	if fromNet {
		err = withURL.Err
	}
	f.Err = fmt.Errorf("%s: %s", host, quoted.ReplaceAllString(err.Error(), `"…"`))
	switch {
	case errors.As(err, &reach):
		f.Reason, f.Remedy, f.Err = "address", reach.Remedy, reach.Err
	case errors.Is(err, context.Canceled):
		f.Reason, f.Remedy = "canceled", ""
	case fromNet && errors.As(err, &dns) && dns.Timeout():
		f.Remedy = "check this node's name servers: they don't answer"
	case fromNet && errors.As(err, &dns):
		f.Remedy = "check that " + host + " is right: its name can't be resolved here. A vault with a private endpoint needs the zone privatelink.vaultcore.azure.net in this node's DNS"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), fromNet && errors.As(err, &timeout) && timeout.Timeout():
		f.Reason = "timeout"
		f.Err = fmt.Errorf("no answer from %s in time: %w", host, context.DeadlineExceeded)
	case !fromNet:
		f.Reason, f.Remedy, f.Err = "unexpected", remedyNotKeyVault, errNotKeyVault
	case errors.As(err, &authority):
		f.Reason, f.Remedy = "tls", "the certificate is signed by a CA that isn't trusted here, such as that of a proxy that inspects TLS: add it to the system's CAs, or to SSL_CERT_FILE in the plugin server's environment"
	case errors.As(err, &name):
		f.Reason, f.Remedy = "tls", "the certificate is for other names: check where "+host+" leads from here"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Reason, f.Remedy = "tls", "the certificate has expired or isn't valid yet: check this machine's clock"
	case errors.As(err, &untrusted), errors.As(err, &record):
		f.Reason, f.Remedy = "tls", "check what answers for "+host+" here: it is not Azure"
	case errors.As(err, &netOp) && netOp.Op == "proxyconnect":
		f.Remedy = "check HTTPS_PROXY and NO_PROXY in the plugin server's environment, and that the proxy is up"
	}
	return f
}

// quoted matches the parts of net/http's errors that repeat what a server sent.
var quoted = regexp.MustCompile(`"[^"]*"`)

// maxRetryAfter limits how long a service can make us wait.
const maxRetryAfter = 5 * time.Minute

// retryAfter is how long an answer asks to wait, in any of the headers that Azure's
// services use.
func retryAfter(h http.Header) time.Duration {
	for _, unit := range []struct {
		header string
		unit   time.Duration
	}{{"Retry-After-Ms", time.Millisecond}, {"X-Ms-Retry-After-Ms", time.Millisecond}, {"Retry-After", time.Second}} {
		v := h.Get(unit.header)
		if n, err := strconv.ParseUint(v, 10, 64); err == nil {
			return time.Duration(min(n, uint64(maxRetryAfter/unit.unit))) * unit.unit
		}
		if at, err := http.ParseTime(v); err == nil {
			return min(max(time.Until(at), 0), maxRetryAfter)
		}
	}
	return 0
}
