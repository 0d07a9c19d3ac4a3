package hashivault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/vault/api"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

var (
	errNotVault = errors.New("the answer is not one of Vault's")
	errMFA      = errors.New("a second factor is required, which a machine can't give")
	errClosed   = errors.New("the store has been closed")
)

const remedyNotVault = "check protocol, host and port, and what a proxy or load balancer in between answers by itself"

// fileFailure is the failure of an operation whose file can't be used.
func fileFailure(op string, err error) *secretstore.Failure {
	f := &secretstore.Failure{Op: op, Reason: "file", Err: err}
	var file *securefile.Error
	if errors.As(err, &file) {
		f.Err, f.Remedy = file.Err, file.Remedy
	}
	return f
}

// transportFailure is the failure of a request without an answer. The remedy depends
// on the error of net, crypto/tls or crypto/x509.
func transportFailure(op string, err error) *secretstore.Failure {
	err = withoutURL(err)
	f := &secretstore.Failure{Op: op, Reason: "network", Err: err}
	var (
		file      *securefile.Error
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		dns       *net.DNSError
		network   *net.OpError
		timeout   interface{ Timeout() bool }
		reach     *secretstore.ReachError
	)
	switch {
	case errors.As(err, &file):
		return fileFailure(op, file)
	case errors.As(err, &reach):
		f.Reason, f.Remedy, f.Err = "address", reach.Remedy, reach.Err
	case errors.Is(err, errNotVault):
		f.Reason, f.Remedy = "unexpected", remedyNotVault
	case errors.Is(err, errRedirect):
		f.Reason, f.Remedy = "redirect", "point host, or api_addr in Vault's own configuration, at the Vault servers themselves"
	case errors.Is(err, errForeignRedirect):
		f.Reason, f.Remedy = "redirect", "give api_addr in Vault's own configuration a name in the same domain as host, or point host at the active node"
	case errors.As(err, &authority):
		f.Reason, f.Remedy = "tls", "the server's certificate is signed by a CA that isn't trusted here: put that CA's certificate into ca_cert"
	case errors.As(err, &host):
		f.Reason, f.Remedy = "tls", "the server's certificate is for other names: set host, or tls_server_name, to one of them"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Reason, f.Remedy = "tls", "the server's certificate, or its CA's, has expired or isn't valid yet: renew it, or set this machine's clock"
	case errors.As(err, &invalid):
		f.Reason, f.Remedy = "tls", "have the server's certificate reissued"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		f.Reason, f.Remedy = "tls", "the server doesn't speak TLS on this port: check port, or set protocol to http"
	case errors.As(err, &network) && network.Op == "remote error":
		f.Reason, f.Remedy = "tls", "the server broke off the TLS handshake: it may ask for a client certificate (cert_auth_cert) signed by a CA it knows, or for another TLS version"
	case errors.Is(err, context.Canceled):
		f.Reason = "canceled"
	case errors.As(err, &dns) && dns.Timeout():
		f.Remedy = "check this machine's name servers: they don't answer"
	case errors.As(err, &dns):
		f.Remedy = "check host: its name can't be resolved here"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.Reason, f.Remedy = "timeout", "check that Vault can be reached from here and isn't overloaded"
		f.Err = fmt.Errorf("no answer in time: %w", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Remedy = "check host and port, and that Vault is running"
	case errors.Is(err, fs.ErrNotExist):
		f.Remedy = "check unix_socket, and that Vault Agent is running"
	}
	return f
}

// apiFailure is the failure for an error of vault/api, which contains a URL and Vault's
// messages. A message that contains secret is left out.
func apiFailure(op string, err error, secret string) *secretstore.Failure {
	var refusal *api.ResponseError
	if !errors.As(err, &refusal) {
		return transportFailure(op, err)
	}
	a := &answer{status: refusal.StatusCode, header: http.Header{}}
	return a.failureSaying(op, refusal.Errors, !refusal.RawError, func(text string) string {
		if secret != "" && strings.Contains(text, secret) {
			return ""
		}
		return text
	})
}

// loginFailure is the failure of a login.
func loginFailure(op string, l *login, err error, secret string) *secretstore.Failure {
	f := apiFailure(op, err, secret)
	var refusal *api.ResponseError
	if errors.As(err, &refusal) && !refusal.RawError && refused(refusal.StatusCode) {
		f.Reason, f.Remedy, f.LoginRefused = "login", l.hint, true
		if refusal.StatusCode == http.StatusForbidden || refusal.StatusCode == http.StatusNotFound {
			f.Remedy += "; and that the auth method is enabled at auth/" + l.mount
		}
	}
	return f
}

// refused reports whether a status means that Vault rejects a login. Other statuses
// mean that it can't answer.
func refused(status int) bool {
	return 400 <= status && status < 500 && status != http.StatusTooManyRequests && status != http.StatusPreconditionFailed
}

// failure explains an answer that is neither a record nor a negative answer. redact is
// applied to Vault's messages.
func (a *answer) failure(op string, redact func(string) string) *secretstore.Failure {
	r, isVault := a.decode()
	isVault = isVault && (r.Errors != nil || r.Warnings != nil || r.Data != nil)
	return a.failureSaying(op, r.Errors, isVault, redact)
}

// readFailure is failure for the read of one record. Its name may be the cause:
// Vault refuses the path, or a firewall in front of it answers with a page.
func (a *answer) readFailure(op string, redact func(string) string) *secretstore.Failure {
	f := a.failure(op, redact)
	f.OneName = a.status < 500 && a.status != http.StatusTooManyRequests && f.Reason != "tls"
	return f
}

// readFailed is transportFailure for the read of one record. A redirect may come
// from a firewall that objects to the record's name.
func readFailed(op string, err error) *secretstore.Failure {
	f := transportFailure(op, err)
	f.OneName = errors.Is(err, errRedirect)
	return f
}

func (a *answer) failureSaying(op string, said []string, isVault bool, redact func(string) string) *secretstore.Failure {
	text := strings.Join(said, "; ")
	f := &secretstore.Failure{Op: op, Wait: a.retryAfter(), Err: fmt.Errorf("status %d%s", a.status, quote(redact(text)))}
	switch {
	case a.status == http.StatusServiceUnavailable && strings.Contains(text, "sealed"):
		f.Reason, f.Remedy = "sealed", "unseal it: vault operator unseal"
	case a.status == http.StatusTooManyRequests:
		f.Reason, f.Remedy = "rate_limited", "raise Vault's rate limit quota, or lower max_lookups_per_second"
	case a.status == http.StatusBadRequest && strings.Contains(string(a.body), "HTTP request to an HTTPS server"):
		f.Reason, f.Remedy = "tls", "the server speaks TLS on this port: set protocol to https"
	case a.status == http.StatusNotImplemented && isVault:
		f.Reason, f.Remedy = "server", "initialize Vault: vault operator init"
	case a.status >= 500:
		f.Reason, f.Remedy = "server", "look at Vault's own log and at its status: vault status"
	case a.status == http.StatusPreconditionFailed, a.status == 472, a.status == 473:
		f.Reason, f.Remedy = "standby", "this standby can't answer yet, or is a disaster recovery secondary: point host at the active cluster"
	case !isVault:
		f.Reason, f.Remedy = "unexpected", remedyNotVault
		f.Err = fmt.Errorf("%w: status %d, content type %.60q", errNotVault, a.status, a.header.Get("Content-Type"))
	default:
		f.Reason = "unexpected"
	}
	return f
}

// maxQuote limits how much of a server's message is repeated.
const maxQuote = 300

// quote prepares a server's message for a log line.
func quote(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	if text == "" {
		return ""
	}
	if len(text) > maxQuote {
		text = text[:maxQuote] + "…"
	}
	return ": " + strings.ToValidUTF8(text, "")
}

// maxRetryAfter limits how long a server can make us wait.
const maxRetryAfter = 5 * time.Minute

// retryAfter is the answer's Retry-After, in either of its two forms.
func (a *answer) retryAfter() time.Duration {
	v := a.header.Get("Retry-After")
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v + "s")
	if err != nil {
		at, err := http.ParseTime(v)
		if err != nil {
			return 0
		}
		d = time.Until(at)
	}
	return min(max(d, 0), maxRetryAfter)
}
