package issuers

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TokenEndpoint is an identity provider's, for OAuth2's client credentials grant. It
// knows one client, and issues what sign makes of the audiences that are asked for.
func TokenEndpoint(t *testing.T, clientID, clientSecret string, sign func(audiences []string) (jwt string)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		id, secret, _ := r.BasicAuth()
		w.Header().Set("Content-Type", "application/json")
		if id != clientID || secret != clientSecret || r.PostForm.Get("grant_type") != "client_credentials" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"token_type": "Bearer", "expires_in": 60, "access_token": sign(r.PostForm["audience"])})
	}))
	t.Cleanup(server.Close)
	return server
}
