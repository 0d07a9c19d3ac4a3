package clouds

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// GoogleAccount is the service account that Google signs JWTs for.
const GoogleAccount = "kong@p.iam.gserviceaccount.com"

// Google returns fakes of Google's token endpoint and of its IAM credentials API, by
// host. The latter signs JWTs for GoogleAccount with sign. key is the key file of a node's
// service account that may request them, as Google's console makes it.
func Google(t *testing.T, sign func(claims map[string]any) (jwt string)) (hosts map[string]http.HandlerFunc, key string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "node@p.iam.gserviceaccount.com", "private_key_id": "1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": "https://oauth2.googleapis.com/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]http.HandlerFunc{
		"oauth2.googleapis.com": func(w http.ResponseWriter, r *http.Request) {
			if strings.Count(r.FormValue("assertion"), ".") != 2 {
				answer(w, http.StatusBadRequest, `{"error":"invalid_grant"}`)
				return
			}
			answer(w, http.StatusOK, `{"access_token":"google-s3cret","token_type":"Bearer","expires_in":3600}`)
		},
		"iamcredentials.googleapis.com": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var call struct{ Payload string }
			var claims map[string]any
			if json.Unmarshal(body, &call) != nil || json.Unmarshal([]byte(call.Payload), &claims) != nil {
				answer(w, http.StatusBadRequest, `{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"no claims"}}`)
				return
			}
			if r.Header.Get("Authorization") != "Bearer google-s3cret" || r.URL.Path != "/v1/projects/-/serviceAccounts/"+GoogleAccount+":signJwt" {
				answer(w, http.StatusForbidden, `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"not with google-s3cret"}}`)
				return
			}
			answer(w, http.StatusOK, `{"keyId":"2","signedJwt":"`+sign(claims)+`"}`)
		},
	}, string(file)
}

// GoogleInstance starts the metadata service of a Compute Engine instance, for
// GCE_METADATA_HOST. sign makes its identity tokens; if it returns an empty one, the
// instance has no service account.
func GoogleInstance(t *testing.T, sign func(audience string) (jwt string)) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const path = "/computeMetadata/v1/instance/service-accounts/default/identity"
		if r.URL.Path != path || r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Query().Get("format") != "full" {
			t.Errorf("%s", r.URL)
		}
		jwt := sign(r.URL.Query().Get("audience"))
		if jwt == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = io.WriteString(w, jwt+"\n")
	}))
	t.Cleanup(server.Close)
	return server
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
