package hashivault

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/hashivault/clouds"
	"kong-vault-auth/secretstore"
)

func TestGCEInstancesLogIn(t *testing.T) {
	asked := 0
	metadata := clouds.GoogleInstance(t, func(audience string) string {
		asked++
		if audience != "http://vault/kong & co" {
			return ""
		}
		return fmt.Sprintf("header.%d.signature", asked)
	})
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

// googleCloud is Google for one service account.
func googleCloud(t *testing.T, signed chan fields) (hosts cloud, key string) {
	t.Helper()
	return clouds.Google(t, func(claims map[string]any) string {
		signed <- claims
		return "header.claims.signature"
	})
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

// Without a key in GCP_SERVICE_ACCOUNT, the node's default credentials are used.
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
