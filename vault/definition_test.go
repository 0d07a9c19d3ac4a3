package vault

import (
	"reflect"
	"strings"
	"testing"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
)

// Credential ids are made of identities and are in logs and rate limits of
// running systems: this pins them.
func TestIdentityIsTheSameForEver(t *testing.T) {
	tests := map[string]Config{
		`["hcv","http://127.0.0.1:8200","","secret","","","token"]`: inlineHCV(t, nil),
		`["hcv","http://127.0.0.1:8200","","secret","kong-auth","","token"]`: inlineHCV(t, func(c *HCV) {
			c.Path = "kong-auth"
		}),
		`["hcv","https://[::1]:443","team/a","kv/sub","","v2","approle","approle","4b168d88dc872a7753c2bc35b36a2d4249487af55baf78f247f38cae2fe962da"]`: inlineHCV(t, func(c *HCV) {
			c.Protocol, c.Host, c.Port, c.Namespace, c.Mount, c.Path, c.KV = "https", "::1", 443, "team/a/", "/kv/sub/", "/", "v2"
			c.AuthMethod, c.AppRoleRoleID = "approle", "role"
		}),
		`["hcv","unix:///run/agent.sock","","secret","","","kubernetes","kubernetes","kong"]`: inlineHCV(t, func(c *HCV) {
			c.UnixSocket, c.AuthMethod, c.KubeRole = "/run/agent.sock", "kubernetes", "kong"
		}),
		`["hcv","http://vault:8200","","secret","","","cert","cert","kong"]`: inlineHCV(t, func(c *HCV) {
			c.Host, c.AuthMethod, c.CertAuthRoleName = "Vault", "cert", "kong"
		}),
		`["hcv","http://127.0.0.1:8200","team/a","secret","","","token","in","admin"]`: inlineHCV(t, func(c *HCV) {
			c.Namespace, c.AuthNamespace = "team/a", "/admin/"
		}),
		`["hcv","http://127.0.0.1:8200","team/b","secret","","","token"]`: inlineHCV(t, func(c *HCV) {
			c.Namespace, c.AuthNamespace = "team/b", "/team/b"
		}),
		`["hcv","http://127.0.0.1:8200/team/vault","","secret","","","token"]`: inlineHCV(t, func(c *HCV) {
			c.BasePath = "/team/vault/"
		}),
		`["hcv","http://127.0.0.1:8200","","secret","","","jwt","jwt","kong"]`: inlineHCV(t, func(c *HCV) {
			c.AuthMethod, c.JWTRole = "jwt", "kong"
		}),
		`["hcv","http://127.0.0.1:8200","","secret","","","jwt","jwt","kong","oauth2","https://idp/token","gateway"]`: inlineHCV(t, func(c *HCV) {
			c.AuthMethod, c.OAuth2RoleName, c.OAuth2Endpoint, c.OAuth2ClientID, c.OAuth2Secret = "jwt", "kong", "https://idp/token", "gateway", "s3cret"
		}),
		`["hcv","http://127.0.0.1:8200","","secret","","","azure","azure","kong"]`: inlineHCV(t, func(c *HCV) {
			c.AuthMethod, c.AzureAuthRole = "azure", "kong"
		}),
		`["hcv","http://127.0.0.1:8200","","secret","","","gcp_iam","clouds/gcp","kong","kong@p.iam"]`: inlineHCV(t, func(c *HCV) {
			c.AuthMethod, c.GCPAuthRole, c.GCPServiceAccount, c.GCPLoginPath, c.GCPJWTExp = "gcp_iam", "kong", "kong@p.iam", "/v1/auth/clouds/gcp/login", 900
		}),
		`["hcv","http://127.0.0.1:8200","","secret","","","gcp_gce","gcp","kong"]`: inlineHCV(t, func(c *HCV) {
			c.AuthMethod, c.GCPAuthRole = "gcp_gce", "kong"
		}),
		`["hcv","http://127.0.0.1:8200","","secret","","","aws_iam","aws","kong","arn:aws:iam::1:role/K"]`: inlineHCV(t, func(c *HCV) {
			c.AuthMethod, c.AWSAuthRole, c.AWSAssumeRoleARN, c.AWSAccessKeyID, c.AWSSecretKey = "aws_iam", "kong", "arn:aws:iam::1:role/K", "AKIA", "key"
		}),
		`["hcv","http://127.0.0.1:8200","","secret","","","aws_ec2","aws","kong"]`: inlineHCV(t, func(c *HCV) {
			c.AuthMethod, c.AWSAuthRole, c.AWSAuthNonce = "aws_ec2", "kong", "nonce"
		}),
		`["hcv","http://127.0.0.1:8200","\u003cteam\u003e \u0026","kv é","","","token","in",""]`: inlineHCV(t, func(c *HCV) {
			c.Namespace, c.AuthNamespace, c.Mount = "<team> &", "/", "kv é"
		}),
		`["azure","https://contoso.vault.azure.net","","default","",""]`: inlineAzure(t, func(c *Azure) {
			c.NamePrefix, c.AuthMethod, c.TTL, c.Location = "", "default", 1, "westeurope"
		}),
		`["azure","https://contoso.vault.azure.net","kong-auth-","client_secret","contoso.com","ab"]`: inlineAzure(t, func(c *Azure) {
			c.VaultURI, c.NamePrefix, c.AuthMethod, c.TenantID, c.ClientID = "https://Contoso.vault.azure.net/", "Kong-Auth-", "client_secret", "Contoso.com", "AB"
		}),
	}
	for want, c := range tests {
		d := Definition{Config: c.Inline}
		if got := d.identity(); got != want {
			t.Errorf("identity %s, want %s", got, want)
		}
	}
}

// Objects that differ in anything but the limits must not share a store. The test goes
// through every field, so that no new one is forgotten.
func TestDigestCoversEveryFieldButTheLimits(t *testing.T) {
	shared := map[string]bool{"ttl": true, "max_ttl": true, "neg_ttl": true, "resurrect_ttl": true, "resurrect_denied_ttl": true, "max_lookups_per_second": true, "revocation_interval": true, "snapshot_file": true, "snapshot_key_file": true}
	for _, make := range []func() Definition{
		func() Definition { return Definition{Config: &HCV{}} },
		func() Definition { return Definition{Config: &Azure{}} },
	} {
		plain := make()
		key := []byte("key")
		for i, f := range fieldsOf(plain.Config) {
			changed := make()
			leaf(reflect.ValueOf(changed.Config).Elem(), i).Set(reflect.ValueOf(nonZero(f.Kind)).Convert(
				leaf(reflect.ValueOf(changed.Config).Elem(), i).Type()))
			if same := changed.digest(key) == plain.digest(key); same != shared[f.Name] {
				t.Errorf("%s %s: the digest is the same: %v", plain.Config.Kind(), f.Name, same)
			}
		}
		if plain.digest(key) == plain.digest([]byte("other")) {
			t.Error("the digest does not depend on its key")
		}
	}
}

// leaf is the i-th field of a struct, counting the fields of embedded structs.
func leaf(v reflect.Value, i int) reflect.Value {
	fields := reflect.VisibleFields(v.Type())
	for _, f := range fields {
		if f.Anonymous {
			continue
		}
		if i == 0 {
			return v.FieldByIndex(f.Index)
		}
		i--
	}
	panic("no such field")
}

func nonZero(k kongschema.Kind) any {
	switch k {
	case kongschema.Boolean:
		return true
	case kongschema.Integer:
		return 7
	case kongschema.Number:
		return 7.5
	}
	return "changed"
}

func TestPlaceShowsNoPassword(t *testing.T) {
	for _, c := range []Config{
		inlineHCV(t, func(c *HCV) { c.Host = "user:s3cr3t@vault" }),
		inlineAzure(t, func(c *Azure) { c.VaultURI = "https://user:s3cr3t@contoso.vault.azure.net" }),
	} {
		if _, err := secretstore.Check(c.Inline.Place(), c.Inline, secretstore.Origin{}); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("Check = %v", err)
		}
	}
}

// Everything in this package that reads the structs' tags relies on this, and so
// does Kong at its start.
func TestConfigurationsHaveASchema(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[HCV](), reflect.TypeFor[Azure]()} {
		schema, err := kongschema.Schema(typ)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		fields, _ := kongschema.Fields(typ)
		for _, f := range fields {
			names[f.Name] = true
		}
		checks, _ := schema["entity_checks"].([]any)
		for _, check := range checks {
			for _, field := range checkedFields(check.(map[string]any)) {
				if !names[field] {
					t.Errorf("%v checks a field that there isn't: %v", typ, check)
				}
			}
		}
	}
}

// checkedFields are the fields that one of a schema's entity checks names.
func checkedFields(check map[string]any) (fields []string) {
	if c, ok := check["conditional"].(map[string]any); ok {
		return []string{c["if_field"].(string), c["then_field"].(string)}
	}
	if c, ok := check["conditional_at_least_one_of"].(map[string]any); ok {
		return append(c["then_at_least_one_of"].([]string), c["if_field"].(string))
	}
	return check["mutually_required"].([]string)
}
