package akvsim

import (
	"net/http"
	"strconv"
	"time"
)

const (
	imdsPath       = "/metadata/identity/oauth2/token"
	machinePath    = "/metadata/instance/compute"
	appServicePath = "/msi/token"
)

// serveIdentity answers for the managed identity endpoints: IMDS of virtual machines
// at http://169.254.169.254, which also identifies the machine, and the one that App
// Service, Functions and Container Apps name in IDENTITY_ENDPOINT.
func (s *Sim) serveIdentity(w http.ResponseWriter, r *http.Request, logged *Request) {
	if s.fault(ManagedIdentity, true, w, r) {
		return
	}
	switch {
	case r.URL.Path != imdsPath && r.URL.Path != machinePath && r.URL.Path != appServicePath:
		http.NotFound(w, r)
		return
	case r.URL.Path != appServicePath && r.Header.Get("Metadata") != "true":
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_description": "Required metadata header not specified"})
		return
	case r.URL.Path == appServicePath && r.Header.Get("X-IDENTITY-HEADER") != IdentityHeader:
		writeJSON(w, http.StatusUnauthorized, map[string]any{"statusCode": http.StatusUnauthorized, "message": "Unauthorized"})
		return
	}
	if r.URL.Path == machinePath {
		writeJSON(w, http.StatusOK, map[string]any{
			"subscriptionId": "22222222-2222-2222-2222-222222222222", "resourceGroupName": "gateways", "name": "vm-1", "vmScaleSetName": "",
		})
		return
	}
	id := s.assigned(r.URL.Query().Get("client_id"))
	s.identify(logged, id)
	switch {
	case id == "" && r.URL.Path == imdsPath:
		writeJSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_request", "error_description": "Identity not found"})
		return
	case id == "":
		writeJSON(w, http.StatusBadRequest, map[string]any{"statusCode": http.StatusBadRequest, "message": "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."})
		return
	}
	resource := r.URL.Query().Get("resource")
	// Both endpoints write these numbers as strings.
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": s.issue(id, resource), "client_id": id, "resource": resource, "token_type": "Bearer",
		"expires_in": strconv.Itoa(int(s.options.TokenLifetime / time.Second)),
		"expires_on": strconv.FormatInt(time.Now().Add(s.options.TokenLifetime).Unix(), 10),
	})
}

// assigned is the client id of the identity with clientID, or of the
// system-assigned one if that is empty. It is empty if there is none.
func (s *Sim) assigned(clientID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.apps {
		if clientID == "" && a.SystemAssigned || clientID == a.ClientID && a.UserAssigned {
			return a.ClientID
		}
	}
	return ""
}
