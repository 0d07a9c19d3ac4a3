package azurevault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/secretstore"
)

var errNotKeyVault = errors.New("the answer is not one of Key Vault's")

const (
	remedyNotKeyVault = "check vault_uri, and whether a proxy or firewall answers instead"
	spreading         = "; a grant made just now can take up to ten minutes to spread"
)

// explain turns an error of the SDK or of the login into one of secretstore.Store.
func (r *read) explain(ctx context.Context, err error) error {
	var failure *secretstore.Failure
	var response *azcore.ResponseError
	switch {
	case errors.As(err, &failure):
		return failure
	case errors.As(err, &response) && response.RawResponse != nil:
		body, _ := runtime.Payload(response.RawResponse)
		return r.explainAnswer(ctx, &answer{response.StatusCode, response.RawResponse.Header, body})
	case errors.Is(err, errTokenRefused):
		f := r.failure("login", remedyRefusedToken, "%w", errTokenRefused)
		f.LoginRefused = true
		return f
	case ctx.Err() != nil && !errors.As(err, new(*net.DNSError)):
		err = ctx.Err()
	}
	failure = transportFailure(r.op, r.endpoint.host, err)
	failure.OneName = failure.Reason == "unexpected" // a page with status 200, for example
	failure.Err = fmt.Errorf("%w, x-ms-client-request-id %s", failure.Err, r.requestID)
	return failure
}

const remedyRefusedToken = "check that the vault and the login are of the same tenant, and this machine's clock"

// vaultError is Key Vault's JSON for an error. Its message contains the secret's
// name, so it must not be repeated.
type vaultError struct {
	Code    string
	Message string
	Inner   struct{ Code string } `json:"innererror"`
}

// forbidden are the kinds of 403, by the code of the inner error.
var forbidden = map[string]string{
	"SecretDisabled":        "disabled",
	"ForbiddenByRbac":       "role",
	"ForbiddenByPolicy":     "policy",
	"AccessDenied":          "policy",
	"ForbiddenByFirewall":   "network",
	"ForbiddenByConnection": "network",
}

// networkRefusal matches the 403s that Key Vault's network rules cause.
var networkRefusal = regexp.MustCompile(`(?i)client address is not authorized|public network access is disabled|approved private link|TCP connection does not allow access`)

// explainAnswer interprets an unsuccessful answer.
func (r *read) explainAnswer(ctx context.Context, a *answer) error {
	var body struct{ Error vaultError }
	isVault := json.Unmarshal(a.body, &body) == nil && body.Error.Code != ""
	e := body.Error
	kind := forbidden[e.Inner.Code]
	if kind == "" && networkRefusal.MatchString(e.Message) {
		kind = "network"
	}
	switch {
	case a.status == http.StatusTooManyRequests:
		return r.answerFailure(a, e, "rate_limited", "Key Vault allows 4,000 reads in 10 s per vault and region: raise ttl, lower max_lookups_per_second, or spread credentials over several vaults")
	case a.status >= 500:
		return r.answerFailure(a, e, "server", "check whether Azure reports an outage of Key Vault in the vault's region")
	case !isVault:
		return aboutName(r.failure("unexpected", remedyNotKeyVault, "%w: status %d", errNotKeyVault, a.status))
	case a.status == http.StatusNotFound && e.Code == "SecretNotFound":
		return &secretstore.Absent{Reason: secretstore.ReasonNotFound}
	case a.status == http.StatusUnauthorized:
		return r.answerFailure(a, e, "login", refusedTokenRemedy(e.Message))
	case a.status != http.StatusForbidden:
		return aboutName(r.answerFailure(a, e, "unexpected", remedyNotKeyVault))
	case kind == "disabled":
		return &secretstore.Absent{Reason: secretstore.ReasonDisabled}
	case kind == "network":
		return r.answerFailure(a, e, "firewall", r.firewallRemedy(e.Message))
	}
	if kind == "role" && r.name != "" {
		// Roles can be assigned for single secrets; access policies are for all.
		may := func(other string) (bool, error) { return r.mayRead(ctx, other) }
		switch others, err := r.recent.MayReadAnother(r.name, may); {
		case err != nil:
			return err
		case others:
			return &secretstore.Absent{Reason: secretstore.ReasonDenied}
		}
		return aboutName(r.answerFailure(a, e, secretstore.Denied, r.grantRemedy(e.Message)))
	}
	return r.answerFailure(a, e, secretstore.Denied, r.grantRemedy(e.Message))
}

// aboutName marks a failure that the secret's name may have caused: a firewall in
// front of Key Vault may have answered.
func aboutName(f *secretstore.Failure) *secretstore.Failure {
	f.OneName = true
	return f
}

// mayRead reports whether the login may read a secret. An error says why that can't
// be determined.
func (r *read) mayRead(ctx context.Context, name string) (bool, error) {
	_, err := withToken(ctx, r.login, func() (azsecrets.GetSecretResponse, error) {
		return r.client.GetSecret(ctx, name, "", nil)
	})
	var response *azcore.ResponseError
	switch {
	case err == nil:
		r.recent.Note(name, time.Now())
		return true, nil
	case errors.As(err, &response) && (response.StatusCode == http.StatusForbidden || response.StatusCode == http.StatusNotFound):
		return false, nil
	}
	return false, r.explain(ctx, err)
}

// isDenied reports whether an error is a 403 because of a missing permission.
func isDenied(err error) bool {
	var failure *secretstore.Failure
	return secretstore.IsAbsent(err, secretstore.ReasonDenied) || errors.As(err, &failure) && failure.Reason == secretstore.Denied
}

func (r *read) answerFailure(a *answer, e vaultError, reason, remedy string) *secretstore.Failure {
	f := r.failure(reason, remedy, "key vault %s answered %s", r.endpoint.name, strings.TrimSpace(fmt.Sprint(a.status, " ", r.codes(e))))
	f.Wait = retryAfter(a.header)
	f.LoginRefused = reason == "login"
	return f
}

func (r *read) failure(reason, remedy, format string, args ...any) *secretstore.Failure {
	return &secretstore.Failure{
		Op: r.op, Reason: reason, Remedy: remedy,
		Err: fmt.Errorf(format+", x-ms-client-request-id %s", append(args, r.requestID)...),
	}
}

// word matches Key Vault's codes; nothing else is repeated.
var word = regexp.MustCompile(`^[A-Za-z]{1,40}$`)

// akv matches the number at the start of a 401's message.
var akv = regexp.MustCompile(`\bAKV\d{5}\b`)

// codes are the parts of an error that can't contain a secret's name.
func (r *read) codes(e vaultError) string {
	var out []string
	for _, c := range []string{e.Code, e.Inner.Code} {
		if word.MatchString(c) && !strings.Contains(strings.ToLower(r.name), strings.ToLower(c)) {
			out = append(out, c)
		}
	}
	return strings.Join(append(out, akv.FindString(e.Message)), " ")
}

const guid = `[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}`

var (
	callerOID  = regexp.MustCompile(`\boid=(` + guid + `)`)
	callerApp  = regexp.MustCompile(`\bappid=(` + guid + `)`)
	clientAddr = regexp.MustCompile(`(?i)client address: ([0-9a-f.:]+)`)
	tenantOf   = regexp.MustCompile(`sts\.[a-z.]+/(` + guid + `)`)
)

func find(re *regexp.Regexp, text string) string {
	if m := re.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}

// grantRemedy says who needs which permission, for both permission models of a vault.
func (r *read) grantRemedy(message string) string {
	who, id := "the login's principal", "OBJECT-ID"
	oid, app := find(callerOID, message), find(callerApp, message)
	switch {
	case oid != "" && app != "":
		who, id = fmt.Sprintf("the principal with object id %s (client id %s)", oid, app), oid
	case oid != "":
		who, id = "the principal with object id "+oid, oid
	case app != "":
		who = "the principal with client id " + app
	}
	return fmt.Sprintf("give %s the role %[7]s on vault %[2]s (az role assignment create --role %[7]q --assignee-object-id %[3]s --scope VAULT-RESOURCE-ID) or, if the vault is on access policies, the secret permission %[4]s (az keyvault set-policy --name %[2]s --object-id %[3]s --secret-permissions %[5]s)%[6]s",
		who, r.endpoint.name, id, strings.ReplaceAll(r.needs, " ", " and "), r.needs, spreading, cmp.Or(r.role, readerRole))
}

func (r *read) firewallRemedy(message string) string {
	address := "this node's address"
	if ip, err := netip.ParseAddr(find(clientAddr, message)); err == nil {
		address = ip.String()
	}
	return fmt.Sprintf("let %s through the vault's network rules (az keyvault network-rule add --name %s --ip-address …), or reach it by a private endpoint and check that %s resolves to that here",
		address, r.endpoint.name, r.endpoint.host)
}

func refusedTokenRemedy(message string) string {
	_, expected, _ := strings.Cut(message, "Expected")
	if tenant := find(tenantOf, expected); akv.FindString(message) == "AKV10032" && tenant != "" {
		return "the vault is in tenant " + tenant + " and the login in another: set tenant_id to the vault's, with an application of that tenant"
	}
	return remedyRefusedToken
}
