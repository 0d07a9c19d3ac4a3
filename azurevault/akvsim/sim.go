// Package akvsim simulates Azure Key Vault (secrets), Microsoft Entra ID and
// managed identity over their real wire formats. Programs written for Azure can be
// tested with it as they are:
//
//	sim := akvsim.New(akvsim.Options{})
//	sim.AddApp(akvsim.App{ClientID: "…", Secret: "…", May: akvsim.Get})
//	sim.Put("kong-auth-alice", `{"access_token":"alice",…}`, nil)
//	server, err := sim.Start("127.0.0.1:0")
//
// The server is an HTTP proxy that answers for every host itself and never dials out.
// A program that is started with HTTPS_PROXY and HTTP_PROXY set to its address
// and SSL_CERT_FILE to its CA (see Server.Environ) reaches the simulated
// https://contoso.vault.azure.net, https://login.microsoftonline.com and
// http://169.254.169.254 as it would reach the real ones; Server.Transport is
// the same for a client in the process.
//
// Bodies are marshalled with azsecrets' own models, so names and time formats
// are the SDK's. The messages of the services (the texts of 403s and of Entra's
// AADSTS errors) are modelled on public documentation and reports, not on a
// recording. Tests with the simulator prove nothing about wording that Microsoft
// changes, about real latency and throttling limits, about how long role
// assignments take to spread, or about Entra's own policies.
package akvsim

import (
	"cmp"
	"crypto/ecdsa"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"kong-vault-auth/certificatetest"
)

// What exists in the simulated Azure.
const (
	Tenant         = "11111111-1111-1111-1111-111111111111" // the only tenant; the vault and all applications are in it
	VaultName      = "contoso"                              // the only vault; it answers in every cloud
	VaultURI       = "https://contoso.vault.azure.net"      // the vault in the public cloud
	IdentityHeader = "simulated-identity-header"            // what App Service puts into IDENTITY_HEADER
)

// Options are the settings of a simulator.
type Options struct {
	TokenLifetime  time.Duration // how long access tokens are valid; 0: an hour
	AccessPolicies bool          // the vault is on access policies, not on Azure RBAC: its 403s differ

	// Slow is the number of requests for a secret before its deletion, recovery or purge
	// can be seen. Key Vault answers these at once, and takes seconds until then.
	Slow int

	// Blocked reports the names of secrets that a firewall in front of the vault
	// answers with a page of its own; nil: none.
	Blocked func(name string) bool

	// Others are more hosts that the proxy answers for, so that one proxy serves a test
	// with several clouds; nil: none.
	Others map[string]http.HandlerFunc
}

// Sim is a simulated Azure. Its methods are safe for concurrent use, also while
// it serves. As an http.Handler it answers for all services; the request's host
// says for which.
type Sim struct {
	options Options
	ca      *authority
	signing *ecdsa.PrivateKey // of access tokens

	mu      sync.Mutex
	apps    map[string]App     // by client id
	tokens  map[string]token   // by the bearer's text
	claims  bool               // refusals of unknown tokens carry a claims challenge
	secrets map[string]*secret // by lower-case name
	faults  map[Service]Fault

	logMu    sync.Mutex // guards what follows; may be taken with mu held
	requests []*Request
}

// New returns a simulated Azure without applications and secrets.
func New(o Options) *Sim {
	o.TokenLifetime = cmp.Or(o.TokenLifetime, time.Hour)
	return &Sim{
		options: o,
		ca:      newAuthority(),
		signing: certificatetest.NewKey(),
		apps:    map[string]App{},
		tokens:  map[string]token{},
		secrets: map[string]*secret{},
		faults:  map[Service]Fault{},
	}
}

// Service is one of the simulated services.
type Service string

// The simulated services.
const (
	KeyVault        Service = "key vault"
	Entra           Service = "entra id"
	ManagedIdentity Service = "managed identity" // IMDS and App Service's endpoint
)

// A simulatedCloud is one of Azure's national clouds.
type simulatedCloud struct{ vaultDomain, login string }

var clouds = []simulatedCloud{
	{"vault.azure.net", "login.microsoftonline.com"},
	{"vault.azure.cn", "login.chinacloudapi.cn"},
	{"vault.usgovcloudapi.net", "login.microsoftonline.us"},
}

// has reports whether the proxy answers for a host.
func (s *Sim) has(host string) bool {
	service, _ := serviceOf(host)
	return service != "" || s.options.Others[host] != nil
}

// serviceOf returns the service that answers for host, and its cloud. Both are
// empty for hosts that don't exist.
func serviceOf(host string) (Service, simulatedCloud) {
	for _, c := range clouds {
		switch host {
		case VaultName + "." + c.vaultDomain:
			return KeyVault, c
		case c.login:
			return Entra, c
		}
	}
	if host == "169.254.169.254" {
		return ManagedIdentity, simulatedCloud{}
	}
	return "", simulatedCloud{}
}

// ServeHTTP answers for the service that the request's host names.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Host = strings.TrimSuffix(r.Host, ":443") // as Key Vault's own links have it
	if other := s.options.Others[r.Host]; other != nil {
		other(w, r)
		return
	}
	service, cloud := serviceOf(r.Host)
	if service == "" && r.URL.Path == appServicePath {
		service = ManagedIdentity
	}
	if service == "" {
		http.Error(w, "akvsim: this host is not simulated", http.StatusBadGateway)
		return
	}
	// The log holds the request before it is answered, so that a client that has
	// its answer finds it there.
	logged := s.record(service, r)
	w = &statusRecorder{w, s, logged}
	switch service {
	case KeyVault:
		s.serveVault(w, r, cloud, logged)
	case Entra:
		s.serveEntra(w, r, cloud, logged)
	case ManagedIdentity:
		s.serveIdentity(w, r, logged)
	}
}

// Request is what the log keeps of a request.
type Request struct {
	Service         Service
	Method          string
	Host            string
	Path            string
	Query           string
	ClientID        string // of the application whose token it carried, or that asked for one; empty: none
	UserAgent       string
	ClientRequestID string // x-ms-client-request-id
	Status          int    // 0: it got no answer
	Began           time.Time
	Answered        time.Time // when the answer began to go out; zero: it got none
}

// SecretRead reports whether the request read a secret, or tried to, with a
// token that the vault knows.
func (r Request) SecretRead() bool {
	path, found := strings.CutPrefix(r.Path, "/secrets/")
	return found && r.Method == http.MethodGet && path != "" && !strings.HasSuffix(path, "/versions") &&
		r.Service == KeyVault && r.ClientID != ""
}

// SecretList reports whether the request was for a page of the list of all secrets,
// with a token that the vault knows.
func (r Request) SecretList() bool {
	return strings.TrimSuffix(r.Path, "/") == "/secrets" && r.Method == http.MethodGet &&
		r.Service == KeyVault && r.ClientID != ""
}

// TokenRequest reports whether the request was for an access token.
func (r Request) TokenRequest() bool {
	return r.Service == Entra && strings.HasSuffix(r.Path, "/token") ||
		r.Service == ManagedIdentity && r.ClientID != ""
}

// Requests returns the requests since the last Forget that match, oldest first.
// match can be a method expression such as akvsim.Request.SecretRead; nil matches
// all of them.
func (s *Sim) Requests(match func(Request) bool) []Request {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	var out []Request
	for _, r := range s.requests {
		if match == nil || match(*r) {
			out = append(out, *r)
		}
	}
	return out
}

// Forget drops the requests so far, which a simulator would otherwise keep as long
// as it runs.
func (s *Sim) Forget() {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	s.requests = nil
}

func (s *Sim) record(service Service, r *http.Request) *Request {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	logged := &Request{
		Service: service, Method: r.Method, Host: r.Host, Path: r.URL.Path, Query: r.URL.RawQuery,
		UserAgent: r.UserAgent(), ClientRequestID: r.Header.Get("x-ms-client-request-id"), Began: time.Now(),
	}
	s.requests = append(s.requests, logged)
	return logged
}

func (s *Sim) identify(logged *Request, clientID string) {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	logged.ClientID = clientID
}

type statusRecorder struct {
	http.ResponseWriter
	sim    *Sim
	logged *Request
}

func (w *statusRecorder) WriteHeader(status int) {
	w.sim.logMu.Lock()
	w.logged.Status, w.logged.Answered = status, time.Now()
	w.sim.logMu.Unlock()
	w.ResponseWriter.WriteHeader(status)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
