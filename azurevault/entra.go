package azurevault

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// noHost is shown as the host of a login that has not sent a request.
const noHost = "the login"

// imdsHost is the address of the managed identity endpoint of virtual machines.
const imdsHost = "169.254.169.254"

const (
	remedyIMDS        = "this machine has no managed identity endpoint at 169.254.169.254, or a proxy or network policy blocks it (put the address into NO_PROXY). On App Service, Functions and Container Apps, pass IDENTITY_ENDPOINT and IDENTITY_HEADER to the plugin server with nginx_main_env"
	remedyFederated   = "give the application or identity a federated credential whose issuer, subject and audience are exactly those of the pod's token: the cluster's OIDC issuer, system:serviceaccount:NAMESPACE:NAME, api://AzureADTokenExchange"
	remedyTenant      = "check tenant_id, and that the vault's cloud is the tenant's"
	remedyCertificate = "check that client_certificate is among the application's certificates in Entra ID, and has not expired"
)

// aadsts holds the remedies for Entra's errors, by number.
var aadsts = []struct {
	numbers []int
	remedy  string
}{
	{[]int{90002, 900023, 900021, 90013}, remedyTenant},
	{[]int{700016, 7000112}, "check client_id and tenant_id: the application must exist in that tenant and be enabled"},
	{[]int{7000215}, "set the client secret to the secret's value, not its id: az ad app credential reset --id CLIENT-ID makes a new one"},
	{[]int{7000222}, "the client secret has expired: make a new one with az ad app credential reset --id CLIENT-ID --append, and replace the old one with it"},
	{[]int{7000218}, "the application needs a client secret or a certificate: set auth_method and the fields that it needs"},
	{[]int{70021, 700211, 700212, 700213, 7002138}, remedyFederated},
	{[]int{700024}, "the token or assertion has expired or isn't valid yet: check this machine's clock, and that the file with the federated token is renewed"},
	{[]int{700027, 700030, 5000222}, remedyCertificate},
	{[]int{500011, 650057}, "the tenant knows no Azure Key Vault: check that vault_uri and tenant_id are of the same cloud"},
	{[]int{53003, 530003}, "a conditional access policy of the tenant blocks the login: exempt the application, or let this node's address in"},
}

// failure says why there is no token.
func (l *login) failure(ctx context.Context, err error, a *attempt) *secretstore.Failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	var file *securefile.Error
	switch {
	case errors.As(err, &file):
		return &secretstore.Failure{Op: l.op, Reason: "file", Remedy: file.Remedy, Err: file.Err}
	case l.life.Err() != nil:
		return &secretstore.Failure{Op: l.op, Reason: "closed", Err: errClosed}
	case l.cred.method == "default" && l.cred.secret == "" && l.cred.clientID == "":
		return l.defaultFailure(err, a.answer != nil && l.answerFailure(a.host, a.answer).LoginRefused)
	case a.answer != nil:
		return l.answerFailure(a.host, a.answer)
	case a.host != "" || ctx.Err() != nil:
		failure := transportFailure(l.op, cmp.Or(a.host, noHost), cmp.Or(ctx.Err(), a.err, err))
		if a.host == imdsHost {
			failure.Remedy = remedyIMDS
		}
		return failure
	}
	return &secretstore.Failure{Op: l.op, Reason: "login", Err: errors.New(l.quote(err.Error()))}
}

// defaultFailure repeats azidentity's message about all the identities that it
// looked for, since the one that was meant is unknown. refused says that the last
// one was refused.
func (l *login) defaultFailure(err error, refused bool) *secretstore.Failure {
	return &secretstore.Failure{
		Op: l.op, Reason: "login", Err: errors.New(l.quote(err.Error())), LoginRefused: refused,
		Remedy: "select the identity with auth_method. Pass the environment variables that it needs to the plugin server with nginx_main_env",
	}
}

// loginError is how Entra ID and the managed identity endpoints report errors.
type loginError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
	Message     string `json:"message"`
	Codes       []int  `json:"error_codes"`
}

// answerFailure interprets an unsuccessful answer of host.
func (l *login) answerFailure(host string, a *answer) *secretstore.Failure {
	var e loginError
	understood := json.Unmarshal(a.body, &e) == nil && e.Description+e.Message != ""
	number := e.number()
	f := &secretstore.Failure{Op: l.op, Reason: "login", Wait: retryAfter(a.header), Err: fmt.Errorf("%s answered %d", host, a.status)}
	if understood {
		f.Err = fmt.Errorf("%w: %s", f.Err, l.quote(e.Description+e.Message))
	}
	switch {
	case a.status == http.StatusTooManyRequests:
		f.Reason, f.Remedy = "rate_limited", "too many logins: check how many processes log in as this identity, and whether they restart continually"
	case a.status >= 500, a.status == http.StatusRequestTimeout, a.status == http.StatusGone,
		e.Code == "temporarily_unavailable", e.Code == "server_error": // OAuth's codes, with any status
		f.Reason, f.Remedy = "server", "check whether Azure reports an outage of Microsoft Entra ID, or of managed identities"
	case !understood:
		f.Reason, f.Remedy = "unexpected", "check what answers for "+host+" here: a proxy or firewall may do so by itself"
	case number != 0:
		f.Remedy = entraRemedy(number)
	case l.cred.clientID != "":
		f.Remedy = fmt.Sprintf("the identity with client id %s is not assigned to this machine or app: assign it (az vm identity assign, az webapp identity assign, …), or correct client_id", l.cred.clientID)
	default:
		f.Remedy = "this machine or app has no system-assigned identity: turn it on (az vm identity assign, az webapp identity assign, …), or set client_id to that of a user-assigned one"
	}
	f.LoginRefused = f.Reason == "login"
	return f
}

func entraRemedy(number int) string {
	for _, e := range aadsts {
		if slices.Contains(e.numbers, number) {
			return e.remedy
		}
	}
	return "look up the number at https://login.microsoftonline.com/error?code=" + strconv.Itoa(number)
}

var aadstsNumber = regexp.MustCompile(`\bAADSTS(\d{4,8})\b`)

// number is Entra's number for the error, 0 if the error isn't from Entra.
func (e loginError) number() int {
	if len(e.Codes) > 0 {
		return e.Codes[0]
	}
	n, _ := strconv.Atoi(find(aadstsNumber, e.Description))
	return n
}

const maxQuote = 600

var (
	// entraTime matches the end of Entra's descriptions, which log lines don't need:
	// they have their own time. The ids before it stay, since Microsoft's support
	// asks for them.
	entraTime = regexp.MustCompile(`\s*\bTimestamp: .*`)
	// tokenLike matches JWTs, such as federated tokens.
	tokenLike = regexp.MustCompile(`\beyJ[A-Za-z0-9_.-]+`)
)

// quote prepares a message for a log line: it becomes one line of limited length
// without secrets.
func (l *login) quote(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	text = entraTime.ReplaceAllString(tokenLike.ReplaceAllString(text, "[token]"), "")
	if l.cred.secret != "" {
		text = strings.ReplaceAll(text, l.cred.secret, "[client secret]")
	}
	if len(text) > maxQuote {
		text = text[:maxQuote] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
