package hashivault

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

func TestGCEInstancesLogIn(t *testing.T) {
	asked := 0
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		const path = "/computeMetadata/v1/instance/service-accounts/default/identity"
		if r.URL.Path != path || r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Query().Get("format") != "full" {
			t.Errorf("%s", r.URL)
		}
		if r.URL.Query().Get("audience") != "http://vault/kong & co" {
			w.WriteHeader(http.StatusNotFound) // as for an instance without a service account
			return
		}
		fmt.Fprintf(w, "header.%d.signature\n", asked)
	}))
	defer metadata.Close()
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(metadata.URL, "http://"))
	cfg := config(func(c *Config) {
		c.Token, c.AuthMethod, c.GCPAuthRole, c.GCPLoginPath = "", "gcp_gce", "kong & co", "/v1/auth/clouds/gcp/login"
	})

	v, logins := vaultWithLogin("auth/clouds/gcp/login", 3600)
	wantFound(t, openOn(t, cfg, nil, v))
	wantLogin(t, logins, fields{"role": "kong & co", "jwt": "header.1.signature"})
	wantFound(t, openOn(t, cfg, nil, v)) // with another identity token
	wantLogin(t, logins, fields{"role": "kong & co", "jwt": "header.2.signature"})

	v.on("PUT auth/clouds/gcp/login", canned(400, `{"errors":["role is bound to others than header.3.signature"]}`))
	wantRefused(t, openOn(t, cfg, nil, v), secretstore.Failure{Op: "log in at auth/clouds/gcp", Reason: "login", LoginRefused: true}, "header.3.signature")
	cfg.GCPAuthRole = "other"
	wantRefused(t, openOn(t, cfg, nil, v), secretstore.Failure{Op: "get an identity token of this instance", Reason: "login", LoginRefused: true})
}

// googleCloud is Google's token endpoint and IAM credentials API for one service
// account, and the key of that as the console hands it out.
func googleCloud(t *testing.T, signed chan fields) (hosts cloud, key string) {
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
	return cloud{
		"oauth2.googleapis.com": func(w http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			if strings.Count(r.Form.Get("assertion"), ".") != 2 {
				canned(400, `{"error":"invalid_grant"}`)(w, r)
				return
			}
			canned(200, `{"access_token":"google-s3cret","token_type":"Bearer","expires_in":3600}`)(w, r)
		},
		"iamcredentials.googleapis.com": func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			var call struct{ Payload string }
			var claims fields
			json.Unmarshal(body, &call)
			json.Unmarshal([]byte(call.Payload), &claims)
			if r.Header.Get("Authorization") != "Bearer google-s3cret" || r.URL.Path != "/v1/projects/-/serviceAccounts/kong@p.iam.gserviceaccount.com:signJwt" {
				canned(403, `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"not with google-s3cret"}}`)(w, r)
				return
			}
			signed <- claims
			canned(200, `{"keyId":"2","signedJwt":"header.claims.signature"}`)(w, r)
		},
	}, string(file)
}

func TestGCPServiceAccountsLogIn(t *testing.T) {
	signed := make(chan fields, 10)
	hosts, key := googleCloud(t, signed)
	cfg := config(func(c *Config) {
		c.Token, c.AuthMethod, c.GCPAuthRole, c.GCPServiceAccount, c.GCPJWTExp = "", "gcp_iam", "kong", "kong@p.iam.gserviceaccount.com", 900
		c.Node.GoogleServiceAccount = key
	})
	v, logins := vaultWithLogin("auth/gcp/login", 3600)
	before := time.Now()
	wantFound(t, openIn(t, cfg, v, hosts))
	wantLogin(t, logins, fields{"role": "kong", "jwt": "header.claims.signature"})
	claims := <-signed
	if end := time.Unix(int64(claims["exp"].(float64)), 0); end.Before(before.Add(899*time.Second)) || end.After(time.Now().Add(900*time.Second)) {
		t.Errorf("it ends at %v", end)
	}
	delete(claims, "exp")
	if diff := cmp.Diff(fields{"sub": "kong@p.iam.gserviceaccount.com", "aud": "vault/kong"}, claims); diff != "" {
		t.Error(diff)
	}

	cfg.GCPServiceAccount = "other@p.iam.gserviceaccount.com"
	wantRefused(t, openIn(t, cfg, v, hosts), secretstore.Failure{Op: "have Google sign a JWT for " + cfg.GCPServiceAccount, Reason: "login", LoginRefused: true})
	hosts["oauth2.googleapis.com"] = canned(400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)
	wantRefused(t, openIn(t, cfg, v, hosts), secretstore.Failure{Op: "log in to Google Cloud", Reason: "login", LoginRefused: true})
	cfg.Node.GoogleServiceAccount = `{"private_key":"s3cret`
	wantRefused(t, openIn(t, cfg, v, hosts), secretstore.Failure{Op: "log in to Google Cloud", Reason: "login"}, "s3cret")
}

// Without a key of its own in GCP_SERVICE_ACCOUNT, the node's default credentials do.
func TestGCPServiceAccountsLogInByAFile(t *testing.T) {
	signed := make(chan fields, 10)
	hosts, key := googleCloud(t, signed)
	file := t.TempDir() + "/key.json"
	replaceFile(t, file, key)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	v, logins := vaultWithLogin("auth/gcp/login", 3600)
	wantFound(t, openIn(t, config(func(c *Config) {
		c.Token, c.AuthMethod, c.GCPAuthRole, c.GCPServiceAccount, c.GCPJWTExp = "", "gcp_iam", "kong", "kong@p.iam.gserviceaccount.com", 900
	}), v, hosts))
	wantLogin(t, logins, fields{"role": "kong", "jwt": "header.claims.signature"})
}
