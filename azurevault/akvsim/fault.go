package akvsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"time"
)

// Fault is how a service misbehaves: it is late, and then the first of Hang, Drop
// and Status that is set happens. If none is set, it answers as usual.
type Fault struct {
	Late   time.Duration // the delay before anything happens
	Hang   bool          // no answer for as long as the client waits
	Drop   bool          // the request is aborted without an answer: a closed connection, or a reset stream of HTTP/2
	Status int           // this status, with Header and Body
	Header http.Header
	Body   string
	Times  int // the number of requests that it applies to; 0: all until Recover
}

// Fail makes a service answer with f from now on. A request to the vault without a
// valid token still gets its 401 instead of a Fault with a status below 500, as
// authentication comes first.
func (s *Sim) Fail(service Service, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[service] = f
}

// Recover ends all faults.
func (s *Sim) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// fault applies the service's fault, if there is one, and reports whether that has
// answered the request.
func (s *Sim) fault(service Service, authenticated bool, w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	f, failing := s.faults[service]
	failing = failing && (authenticated || f.Status == 0 || f.Status >= 500)
	switch {
	case !failing:
	case f.Times == 1:
		delete(s.faults, service)
	case f.Times > 1:
		f.Times--
		s.faults[service] = f
	}
	s.mu.Unlock()
	if !failing {
		return false
	}
	if f.Late > 0 {
		late := time.NewTimer(f.Late)
		defer late.Stop()
		select {
		case <-late.C:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Drop:
		panic(http.ErrAbortHandler)
	case f.Status == 0:
		return false
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	maps.Copy(w.Header(), f.Header)
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body))
	return true
}

// VaultError is an error as Key Vault writes it. inner, the code of the inner
// error, may be empty.
func VaultError(status int, code, inner, message string) Fault {
	return Fault{Status: status, Body: mustJSON(vaultError(code, inner, message))}
}

// EntraError is an error as Entra ID writes it, for an AADSTS number.
func EntraError(status int, code string, number int, message string) Fault {
	return Fault{Status: status, Body: mustJSON(entraError(code, number, message))}
}

// Throttled is a 429; retryAfter is the value of Retry-After, or empty for none.
func Throttled(retryAfter string) Fault {
	f := VaultError(http.StatusTooManyRequests, "Throttled", "",
		"Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached")
	if retryAfter != "" {
		f.Header = http.Header{"Retry-After": {retryAfter}}
	}
	return f
}

// Unavailable is a 503.
func Unavailable() Fault {
	return VaultError(http.StatusServiceUnavailable, "ServiceUnavailable", "", "The service is unavailable.")
}

// Firewall is the vault's refusal of a client address outside its network rules.
func Firewall(clientAddress string) Fault {
	return VaultError(http.StatusForbidden, "Forbidden", "ForbiddenByFirewall", fmt.Sprintf(
		"Client address is not authorized and caller is not a trusted service.\r\nClient address: %s\r\nCaller: appid=%[2]s;oid=%[2]s;iss=https://sts.windows.net/%[2]s/\r\nVault: %[3]s;location=westeurope",
		clientAddress, Tenant, VaultName))
}

// PrivateLinkOnly is the refusal of a vault that is closed to the public network.
func PrivateLinkOnly() Fault {
	return VaultError(http.StatusForbidden, "Forbidden", "ForbiddenByConnection",
		"Public network access is disabled and request is not from a trusted service nor via an approved private link.\r\nVault: "+VaultName+";location=westeurope")
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}
