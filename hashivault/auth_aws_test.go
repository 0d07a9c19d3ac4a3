package hashivault

import (
	"encoding/base64"
	"slices"
	"testing"

	"kong-vault-auth/hashivault/clouds"
	"kong-vault-auth/secretstore"
)

// awsAuth sets up Vault's AWS method at clouds/aws with this STS and, if it is given,
// this EC2.
func (v *realVault) awsAuth(sts, ec2 string) {
	v.t.Helper()
	v.put("alice")
	v.enable("clouds/aws", "aws")
	v.do("POST", "auth/clouds/aws/config/client", fields{
		"access_key": clouds.VaultUser.ID, "secret_key": clouds.VaultUser.Secret, "sts_endpoint": sts, "sts_region": clouds.Region,
		"endpoint": ec2, "iam_server_id_header_value": "vault.example.com",
	})
}

// enable enables an auth method, if this Vault has it.
func (v *realVault) enable(mount, kind string) {
	v.t.Helper()
	catalog := v.do("LIST", "sys/plugins/catalog/auth", nil)["data"].(fields)["keys"].([]any)
	if !slices.Contains(catalog, any(kind)) {
		v.t.Skipf("this Vault server is built without the auth method %s: remove .cache/vaultd-* and build it again", kind)
	}
	v.do("POST", "sys/auth/"+mount, fields{"type": kind})
}

func (v *realVault) awsRole(more fields) {
	v.t.Helper()
	role := fields{"token_policies": v.policy("secret/data/kong-auth/*"), "token_ttl": "1h"}
	for k, x := range more {
		role[k] = x
	}
	v.do("POST", "auth/clouds/aws/role/kong", role)
}

func (v *realVault) awsIAM(sts string) Config {
	v.t.Helper()
	v.awsAuth(sts, "")
	return v.config(func(c *Config) {
		c.Token, c.AuthMethod, c.AWSAuthRole, c.AWSLoginPath = "", "aws_iam", "kong", "/v1/auth/clouds/aws/login"
		c.AWSAuthRegion, c.AWSSTSEndpoint, c.AWSServerID = clouds.Region, sts, "vault.example.com"
		c.AWSAccessKeyID, c.AWSSecretKey = clouds.KongUser.ID, clouds.KongUser.Secret
	})
}

func TestAWSIAMLogin(t *testing.T) {
	v, sts := startVault(t), clouds.STS(t)
	cfg := v.awsIAM(sts.URL)
	v.awsRole(fields{"auth_type": "iam", "bound_iam_principal_arn": clouds.KongUser.ARN, "resolve_aws_unique_ids": false})
	s := openAt(t, cfg, nil)
	wantFound(t, s)
	v.revokeLoginsAt("clouds/aws")
	wantFound(t, s)
	if got := len(v.audited("update", "auth/clouds/aws/login")); got != 2 {
		t.Errorf("%d logins, want 2: the first and one after the revocation", got)
	}

	refused := secretstore.Failure{Op: "log in at auth/clouds/aws", Reason: "login", LoginRefused: true}
	for about, edit := range map[string]func(*Config){
		"a wrong key":             func(c *Config) { c.AWSSecretKey = "guessed-s3cret" },
		"another region":          func(c *Config) { c.AWSAuthRegion = "us-east-1" },
		"another Vault's request": func(c *Config) { c.AWSServerID = "other.example.com" },
		"another role":            func(c *Config) { c.AWSAuthRole = "admin" },
	} {
		t.Run(about, func(t *testing.T) {
			wrong := cfg
			edit(&wrong)
			wantRefused(t, openAt(t, wrong, nil), refused, wrong.AWSSecretKey, "Signature=")
		})
	}
}

func TestAWSIAMLoginWithAnAssumedRole(t *testing.T) {
	v, sts := startVault(t), clouds.STS(t)
	cfg := v.awsIAM(sts.URL)
	cfg.AWSAssumeRoleARN, cfg.AWSSessionName = clouds.KongRoleARN, "gateway"
	v.awsRole(fields{"auth_type": "iam", "bound_iam_principal_arn": cfg.AWSAssumeRoleARN, "resolve_aws_unique_ids": false})
	wantFound(t, openAt(t, cfg, nil))

	cfg.AWSSecretKey = "guessed-s3cret"
	wantRefused(t, openAt(t, cfg, nil), secretstore.Failure{
		Op: "assume the role " + cfg.AWSAssumeRoleARN, Reason: "login", LoginRefused: true,
	}, "guessed-s3cret")
}

// Without a key of its own, an object of the node uses what the SDK finds.
func TestAWSIAMLoginAsTheNode(t *testing.T) {
	v, sts := startVault(t), clouds.STS(t)
	cfg := v.awsIAM(sts.URL)
	cfg.AWSAccessKeyID, cfg.AWSSecretKey = "", ""
	v.awsRole(fields{"auth_type": "iam", "bound_iam_principal_arn": clouds.KongUser.ARN, "resolve_aws_unique_ids": false})
	t.Setenv("AWS_ACCESS_KEY_ID", clouds.KongUser.ID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", clouds.KongUser.Secret)
	wantFound(t, openAt(t, cfg, nil))

	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("HOME", t.TempDir())
	wantRefused(t, openAt(t, cfg, nil), secretstore.Failure{Op: "find AWS credentials of this node", Reason: "login"})
}

func TestSTSOfARegion(t *testing.T) {
	for region, want := range map[string]string{
		"eu-central-1": "https://sts.eu-central-1.amazonaws.com/", "cn-north-1": "https://sts.cn-north-1.amazonaws.com.cn/",
	} {
		cfg := config(func(c *Config) { c.AWSAuthRegion, c.AWSAccessKeyID, c.AWSSecretKey = region, "id", "key" })
		p := &secretstore.Problems{}
		s := &callerIdentity{region: region, keyID: "id", key: "key"}
		(&checker{cfg: &cfg, p: p}).checkCallerIdentity(s)
		if err := p.Err("x"); s.endpoint != want || err != nil {
			t.Errorf("%s: %s, %v", region, s.endpoint, err)
		}
	}
}

func TestAWSEC2Login(t *testing.T) {
	instance := clouds.NewInstance(t)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", instance.Metadata.URL)
	t.Setenv("AWS_REGION", clouds.Region)
	v := startVault(t)
	v.awsAuth(clouds.STS(t).URL, instance.EC2.URL)
	v.do("POST", "auth/clouds/aws/config/certificate/tests", fields{
		"type": "identity", "aws_public_cert": base64.StdEncoding.EncodeToString(instance.Certificate),
	})
	v.awsRole(fields{"auth_type": "ec2", "bound_ami_id": "ami-1"})
	cfg := v.config(func(c *Config) {
		c.Token, c.AuthMethod, c.AWSAuthRole, c.AWSLoginPath, c.AWSAuthNonce = "", "aws_ec2", "kong", "clouds/aws", "the-n0nce"
	})
	s := openAt(t, cfg, nil)
	wantFound(t, s)
	v.revokeLoginsAt("clouds/aws")
	wantFound(t, s)
	wantFound(t, openAt(t, cfg, nil)) // a plugin server that starts again

	cfg.AWSAuthNonce = "an0ther-nonce"
	wantRefused(t, openAt(t, cfg, nil), secretstore.Failure{Op: "log in at auth/clouds/aws", Reason: "login", LoginRefused: true}, "an0ther-nonce", "the-n0nce")
	instance.Metadata.Close()
	wantRefused(t, openAt(t, cfg, nil), secretstore.Failure{Op: "get the identity document of this instance", Reason: "network"})
}
