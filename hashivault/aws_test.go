package hashivault

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"kong-vault-auth/secretstore"
)

// awsKey is an access key and whom it belongs to.
type awsKey struct{ id, secret, session, arn string }

var (
	kongUser  = awsKey{id: "AKIAKONG", secret: "the-users-s3cret", arn: "arn:aws:iam::123456789012:user/kong"}
	vaultUser = awsKey{id: "AKIAVAULT", secret: "vaults-s3cret", arn: "arn:aws:iam::123456789012:user/vault"}
	awsKeys   = []awsKey{kongUser, kongRole, vaultUser}
	kongRole  = awsKey{id: "ASIAROLE", secret: "the-roles-s3cret", session: "the-session", arn: "arn:aws:sts::123456789012:assumed-role/Kong/gateway"}
)

// awsSTS is AWS' STS, which knows three keys: with that of Kong's user, the role's can be
// had. It checks signatures as AWS does, by signing the request again.
func awsSTS(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		body, _ := io.ReadAll(r.Body)
		key, ok := signer(r, body)
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error></ErrorResponse>`)
			return
		}
		switch {
		case strings.Contains(string(body), "Action=GetCallerIdentity&"):
			fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
				<Arn>%s</Arn><UserId>AIDAKONG</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, key.arn)
		case strings.Contains(string(body), "Action=AssumeRole&") && key == kongUser:
			fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
				<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>
				</Credentials></AssumeRoleResult></AssumeRoleResponse>`, kongRole.id, kongRole.secret, kongRole.session, time.Now().Add(time.Hour).Format(time.RFC3339))
		default:
			t.Errorf("STS was asked for %s", body)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// signer is whose key has signed a request to STS.
func signer(r *http.Request, body []byte) (awsKey, bool) {
	given := r.Header.Get("Authorization")
	n := slices.IndexFunc(awsKeys, func(k awsKey) bool { return strings.Contains(given, "Credential="+k.id+"/") })
	_, list, found := strings.Cut(given, "SignedHeaders=")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if n < 0 || !found || err != nil {
		return awsKey{}, false
	}
	key := awsKeys[n]
	again := r.Clone(r.Context())
	again.URL.Scheme, again.URL.Host = "http", r.Host
	again.URL.Path = path.Clean(r.URL.Path) // Vault asks for //, and signatures are of the path without that
	list, _, _ = strings.Cut(list, ",")
	signed := strings.Split(list, ";")
	for name := range again.Header {
		if !slices.Contains(signed, strings.ToLower(name)) {
			again.Header.Del(name)
		}
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: key.id, SecretAccessKey: key.secret, SessionToken: key.session}
	if v4.NewSigner().SignHTTP(r.Context(), credentials, again, hex.EncodeToString(sum[:]), "sts", "eu-central-1", at) != nil {
		return awsKey{}, false
	}
	return key, again.Header.Get("Authorization") == given && r.Header.Get("X-Amz-Security-Token") == key.session
}

// awsAuth sets up Vault's AWS method at clouds/aws with this STS and, where there is
// one, this EC2.
func (v *realVault) awsAuth(sts, ec2 string) {
	v.t.Helper()
	v.put("alice")
	v.enable("clouds/aws", "aws")
	v.do("POST", "auth/clouds/aws/config/client", fields{
		"access_key": vaultUser.id, "secret_key": vaultUser.secret, "sts_endpoint": sts, "sts_region": "eu-central-1",
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
		c.AWSAuthRegion, c.AWSSTSEndpoint, c.AWSServerID = "eu-central-1", sts, "vault.example.com"
		c.AWSAccessKeyID, c.AWSSecretKey = kongUser.id, kongUser.secret
	})
}

func TestAWSIAMLogin(t *testing.T) {
	v, sts := startVault(t), awsSTS(t)
	cfg := v.awsIAM(sts.URL)
	v.awsRole(fields{"auth_type": "iam", "bound_iam_principal_arn": kongUser.arn, "resolve_aws_unique_ids": false})
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
	v, sts := startVault(t), awsSTS(t)
	cfg := v.awsIAM(sts.URL)
	cfg.AWSAssumeRoleARN, cfg.AWSSessionName = "arn:aws:iam::123456789012:role/Kong", "gateway"
	v.awsRole(fields{"auth_type": "iam", "bound_iam_principal_arn": cfg.AWSAssumeRoleARN, "resolve_aws_unique_ids": false})
	wantFound(t, openAt(t, cfg, nil))

	cfg.AWSSecretKey = "guessed-s3cret"
	wantRefused(t, openAt(t, cfg, nil), secretstore.Failure{
		Op: "assume the role " + cfg.AWSAssumeRoleARN, Reason: "login", LoginRefused: true,
	}, "guessed-s3cret")
}

// Without a key of its own, an object of the node's has what the SDK finds.
func TestAWSIAMLoginAsTheNode(t *testing.T) {
	v, sts := startVault(t), awsSTS(t)
	cfg := v.awsIAM(sts.URL)
	cfg.AWSAccessKeyID, cfg.AWSSecretKey = "", ""
	v.awsRole(fields{"auth_type": "iam", "bound_iam_principal_arn": kongUser.arn, "resolve_aws_unique_ids": false})
	t.Setenv("AWS_ACCESS_KEY_ID", kongUser.id)
	t.Setenv("AWS_SECRET_ACCESS_KEY", kongUser.secret)
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

// ec2 is what an instance knows of itself: its document and the signature of that.
func ec2Metadata(t *testing.T, document string, sign func(digest []byte) []byte) *httptest.Server {
	t.Helper()
	digest := sha256.Sum256([]byte(document))
	signature := base64.StdEncoding.EncodeToString(sign(digest[:]))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const token = "imds-token"
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			fmt.Fprint(w, token)
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/latest/dynamic/instance-identity/document":
			fmt.Fprint(w, document)
		case r.URL.Path == "/latest/dynamic/instance-identity/signature":
			fmt.Fprint(w, signature[:64]+"\n"+signature[64:]) // in lines, as AWS writes it
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
	t.Setenv("AWS_REGION", "eu-central-1")
	return server
}

func TestAWSEC2Login(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pending := time.Now().UTC().Add(-time.Minute).Format("2006-01-02T15:04:05Z")
	metadata := ec2Metadata(t, `{"accountId":"123456789012","imageId":"ami-1","instanceId":"i-1","region":"eu-central-1","pendingTime":"`+pending+`"}`, func(digest []byte) []byte {
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest)
		if err != nil {
			t.Error(err)
		}
		return signature
	})
	ec2 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item><instancesSet><item>
			<instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState>
			</item></instancesSet></item></reservationSet></DescribeInstancesResponse>`)
	}))
	defer ec2.Close()

	v := startVault(t)
	v.awsAuth(awsSTS(t).URL, ec2.URL)
	v.do("POST", "auth/clouds/aws/config/certificate/tests", fields{
		"type": "identity", "aws_public_cert": base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
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
	metadata.Close()
	wantRefused(t, openAt(t, cfg, nil), secretstore.Failure{Op: "get the identity document of this instance", Reason: "network"})
}
