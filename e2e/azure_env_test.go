package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"kong-vault-auth/azurevault/akvsim"
)

// The application that most objects log in as.
const (
	azureClientID = "22222222-2222-4222-8222-222222222222"
	azureObjectID = "44444444-4444-4444-8444-444444444444"
	azureSecret   = "cl1ent~s3cret"
)

// azure is an environment whose credentials are in a simulated Azure Key Vault. The
// plugin is the compiled one as it is: its environment leads it through the
// simulator's proxy, and it asks https://contoso.vault.azure.net.
type azure struct {
	*testEnv
	sim    *akvsim.Sim
	server *akvsim.Server
	dir    string   // for files
	env    []string // that leads the plugin to the simulator
	hidden []string // what no log may hold
}

// newAzure is an Azure with one application, which may read secrets.
func newAzure(t *testing.T) *azure {
	t.Helper()
	a := &azure{
		testEnv: &testEnv{T: t, upstream: newUpstream()},
		sim:     akvsim.New(akvsim.Options{}),
		dir:     t.TempDir(),
		hidden:  []string{azureSecret, "PRIVATE KEY", "eyJ" /* with which all of Entra's tokens start */},
	}
	t.Cleanup(a.upstream.Close)
	a.app(nil)
	var err error
	a.server, err = a.sim.Start("127.0.0.1:0")
	a.must(err)
	t.Cleanup(func() { a.must(a.server.Close()) })
	a.env = a.server.Environ(a.file("ca.pem", string(a.server.CA())))
	return a
}

// app registers the application, changed by change.
func (a *azure) app(change func(*akvsim.App)) {
	app := akvsim.App{ClientID: azureClientID, ObjectID: azureObjectID, Secret: azureSecret, May: akvsim.Get}
	if change != nil {
		change(&app)
	}
	a.sim.AddApp(app)
}

// in is the same Azure for a subtest.
func (a *azure) in(t *testing.T) *azure {
	sub := *a
	sub.testEnv = a.testEnv.in(t)
	return &sub
}

// file writes a file that only its owner may read.
func (a *azure) file(name, content string) string {
	a.Helper()
	path := filepath.Join(a.dir, name)
	a.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

// fits matches the access tokens that Azure's names can hold after kong-auth-.
var fits = regexp.MustCompile(`^[0-9A-Za-z-]{1,117}$`)

// secretName is where docs/azure.md says that a credential is kept.
func secretName(accessToken string) string {
	if fits.MatchString(accessToken) {
		return "kong-auth-" + accessToken
	}
	digest := sha256.Sum256([]byte(accessToken))
	return "kong-auth-sha256-" + hex.EncodeToString(digest[:])
}

// credential stores a new pair of alice's.
func (a *azure) credential(attributes *azsecrets.SecretAttributes) pair {
	p := newPair()
	a.put(p, attributes)
	return p
}

func (a *azure) put(p pair, attributes *azsecrets.SecretAttributes) {
	a.sim.Put(secretName(p.access), fmt.Sprintf(`{"access_token":%q,"secret_token":%q,"consumer":{"id":%q}}`, p.access, p.secret, aliceID), attributes)
}

// byClientSecret are the settings of an object that logs in as the application.
func byClientSecret(more object) object {
	settings := object{
		"auth_method": "client_secret", "tenant_id": akvsim.Tenant, "client_id": azureClientID, "client_secret": azureSecret,
	}
	maps.Copy(settings, more)
	return settings
}

// definedBy says who defines the vault object of a gateway.
type definedBy int

const (
	thePlugin definedBy = iota // inside its configuration, config.azure
	theNode                    // by the variables that Kong documents; the plugin names it in config.vault
)

// guard starts a gateway with a route / that is guarded by an object with these
// settings.
func (a *azure) guard(by definedBy, settings object, env ...string) gateway {
	a.Helper()
	all := object{"vault_uri": akvsim.VaultURI}
	maps.Copy(all, settings)
	if by == thePlugin {
		return a.gateway(object{"azure": all}, env)
	}
	for name, value := range all {
		env = append(env, fmt.Sprintf("KONG_VAULT_AZURE_%s=%v", strings.ToUpper(name), value))
	}
	return a.gateway(object{"vault": "azure"}, env)
}

// gateway starts a gateway whose plugin server gets env and reaches the simulator in the place
// of Azure. It must never log a secret, at any level.
func (a *azure) gateway(config object, env []string) gateway {
	a.Helper()
	env = append(env, a.env...)
	env = append(env, "VAULT_AUTH_LOG_LEVEL=debug", "AZURE_SDK_GO_LOGGING=all")
	return a.startUnderWatch(route{"/", []object{{"name": "vault-auth", "config": config}}}, env, &a.hidden)
}

// allLevels is everything that a gateway and its plugin server have logged.
func allLevels(g gateway) string {
	var b strings.Builder
	if server := g.Server(); server != nil {
		b.WriteString(server.output.String())
	}
	s, ok := g.(*simulated)
	if !ok {
		return b.String() + g.Log()
	}
	for _, line := range s.ErrorLog() {
		b.WriteString("[" + line.Level + "] " + line.Text + "\n")
	}
	return b.String()
}

// ask sends a pair, which must not get into the log, one request at a time. While other
// requests are under way, use hide and testEnv.ask.
func (a *azure) ask(g gateway, p pair) answer {
	a.Helper()
	a.hide(p)
	return a.get(g, "/", p.header())
}

// hide makes sure that these pairs don't get into the log.
func (a *azure) hide(pairs ...pair) {
	for _, p := range pairs {
		a.hidden = append(a.hidden, p.access, p.secret)
	}
}

// reads are the reads of a pair's secret that have reached Key Vault.
func (a *azure) reads(p pair) int {
	return len(a.sim.Requests(func(r akvsim.Request) bool {
		return r.SecretRead() && strings.EqualFold(r.Path, "/secrets/"+secretName(p.access)+"/")
	}))
}

// logins are the requests for an access token.
func (a *azure) logins() []akvsim.Request { return a.sim.Requests(akvsim.Request.TokenRequest) }

// logs fails unless the log has a line with all of these parts.
func (a *azure) logs(g gateway, parts ...string) {
	a.Helper()
	log := g.Log()
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			return
		}
	}
	a.Errorf("no line of the log has %q:\n%s", parts, log)
}
