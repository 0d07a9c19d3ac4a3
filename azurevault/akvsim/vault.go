package akvsim

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var nameRE = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)

// serveVault answers for https://contoso.vault.azure.net: it authenticates the caller,
// checks the permission, and then does the operation.
func (s *Sim) serveVault(w http.ResponseWriter, r *http.Request, c simulatedCloud, logged *Request) {
	w.Header().Set("x-ms-client-request-id", r.Header.Get("x-ms-client-request-id"))
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	t, known := s.tokens[bearer]
	app := s.apps[t.clientID]
	claims := s.claims
	s.mu.Unlock()
	s.identify(logged, t.clientID)
	if s.fault(KeyVault, known, w, r) {
		return
	}
	resource := "https://" + c.vaultDomain
	challenge := fmt.Sprintf(`Bearer authorization="https://%s/%s", resource="%s"`, c.login, Tenant, resource)
	unauthorized := func(challenge, message string) {
		w.Header().Set("WWW-Authenticate", challenge)
		refuse(w, http.StatusUnauthorized, "Unauthorized", "", message)
	}
	switch {
	case bearer == "":
		unauthorized(challenge, "AKV10000: Request is missing a Bearer or PoP token.")
	case known && t.audience != resource:
		unauthorized(challenge+`, error="invalid_token", error_description="AKV10022: Invalid audience."`,
			"AKV10022: Invalid audience. Expected "+resource+", found: "+t.audience+".")
	case !known && claims:
		nbf := mustJSON(map[string]any{"access_token": map[string]any{"nbf": map[string]any{"essential": true, "value": strconv.FormatInt(time.Now().Unix(), 10)}}})
		unauthorized(challenge+`, error="insufficient_claims", claims="`+base64.StdEncoding.EncodeToString([]byte(nbf))+`"`,
			"AKV10076: Continuous access evaluation resulted in challenge.")
	case !known || time.Now().After(t.expires):
		unauthorized(challenge+`, error="invalid_token", error_description="AKV10046: Unable to resolve the key used for signature validation."`,
			"AKV10046: Unable to resolve the key used for signature validation.")
	case r.URL.Query().Get("api-version") == "":
		refuse(w, http.StatusBadRequest, "BadParameter", "", "api-version must be specified")
	default:
		s.serveOperation(w, r, app)
	}
}

// serveOperation answers a request of an authenticated application.
func (s *Sim) serveOperation(w http.ResponseWriter, r *http.Request, app App) {
	seg := append(strings.Split(strings.Trim(r.URL.Path, "/"), "/"), "", "", "")
	collection, name, version := seg[0], seg[1], seg[2]
	if s.options.Blocked != nil && s.options.Blocked(name) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<html><body>Request blocked</body></html>")
		return
	}
	if name != "" && !nameRE.MatchString(name) {
		refuse(w, http.StatusBadRequest, "BadParameter", "", "The request URI contains an invalid name: "+name)
		return
	}
	type operation struct {
		permission Permission
		action     string
		run        func()
	}
	var op operation
	base := "https://" + r.Host
	switch {
	case collection == "secrets" && name == "" && r.Method == http.MethodGet:
		op = operation{List, "readMetadata", func() { s.listSecrets(w, r, base) }}
	case collection == "secrets" && version == "versions" && r.Method == http.MethodGet:
		op = operation{List, "readMetadata", func() { s.listVersions(w, r, base, name) }}
	case collection == "secrets" && r.Method == http.MethodGet:
		op = operation{Get, "getSecret", func() { s.get(w, base, name, version) }}
	case collection == "secrets" && r.Method == http.MethodPut:
		op = operation{Set, "setSecret", func() { s.set(w, r, base, name) }}
	case collection == "secrets" && r.Method == http.MethodPatch:
		op = operation{Set, "update", func() { s.update(w, r, base, name, version) }}
	case collection == "secrets" && r.Method == http.MethodDelete:
		op = operation{Set, "delete", func() { s.delete(w, base, name) }}
	case collection == "deletedsecrets" && name != "":
		op = operation{Set, "recover", func() { s.serveDeleted(w, r, base, name) }}
	default:
		refuse(w, http.StatusNotFound, "NotFound", "", "Not found")
		return
	}
	if app.May&op.permission == 0 || slices.Contains(app.Deny, strings.ToLower(name)) {
		s.forbid(w, app, op.action, name)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if name == "" || !s.unsettled(w, r, base, name) {
		op.run()
	}
}

// forbid is the 403 for an application without the permission. As in Azure, it names
// the caller and, on a vault with Azure RBAC, the secret.
func (s *Sim) forbid(w http.ResponseWriter, app App, action, name string) {
	caller := fmt.Sprintf("appid=%s;oid=%s;iss=https://sts.windows.net/%s/", app.ClientID, app.ObjectID, Tenant)
	if s.options.AccessPolicies {
		verb := map[string]string{"readMetadata": "list", "getSecret": "get", "setSecret": "set"}[action]
		refuse(w, http.StatusForbidden, "Forbidden", "ForbiddenByPolicy", fmt.Sprintf(
			"The user, group or application '%s' does not have secrets %s permission on key vault '%s;location=westeurope'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
			caller, verb, VaultName))
		return
	}
	refuse(w, http.StatusForbidden, "Forbidden", "ForbiddenByRbac", fmt.Sprintf(
		"Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\nCaller: %s\r\nAction: 'Microsoft.KeyVault/vaults/secrets/%s/action'\r\nResource: '/subscriptions/%s/resourcegroups/kong/providers/microsoft.keyvault/vaults/%s/secrets/%s'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: %s;location=westeurope\r\n",
		caller, action, Tenant, VaultName, name, VaultName))
}

// refuse writes an error as Key Vault does.
func refuse(w http.ResponseWriter, status int, code, inner, message string) {
	writeJSON(w, status, vaultError(code, inner, message))
}

func vaultError(code, inner, message string) any {
	e := map[string]any{"code": code, "message": message}
	if inner != "" {
		e["innererror"] = map[string]any{"code": inner}
	}
	return map[string]any{"error": e}
}
