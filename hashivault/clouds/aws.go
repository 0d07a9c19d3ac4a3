package clouds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Region is the region of the fake AWS services.
const Region = "eu-central-1"

// Key is an access key of AWS, with its owner's ARN.
type Key struct{ ID, Secret, Session, ARN string }

// The keys that STS knows. KongUser can get KongRole's.
var (
	KongUser  = Key{ID: "AKIAKONG", Secret: "the-users-s3cret", ARN: "arn:aws:iam::123456789012:user/kong"}
	KongRole  = Key{ID: "ASIAROLE", Secret: "the-roles-s3cret", Session: "the-session", ARN: "arn:aws:sts::123456789012:assumed-role/Kong/gateway"}
	VaultUser = Key{ID: "AKIAVAULT", Secret: "vaults-s3cret", ARN: "arn:aws:iam::123456789012:user/vault"}
)

// KongRoleARN is the role that KongUser may assume.
const KongRoleARN = "arn:aws:iam::123456789012:role/Kong"

// STS starts a fake AWS STS. It checks signatures as AWS does, by signing the request
// again.
func STS(t *testing.T) *httptest.Server {
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
				<Arn>%s</Arn><UserId>AIDAKONG</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, key.ARN)
		case strings.Contains(string(body), "Action=AssumeRole&") && key == KongUser:
			fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
				<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration>
				</Credentials></AssumeRoleResult></AssumeRoleResponse>`, KongRole.ID, KongRole.Secret, KongRole.Session, time.Now().Add(time.Hour).Format(time.RFC3339))
		default:
			t.Errorf("STS was asked for %s", body)
		}
	}))
	t.Cleanup(server.Close)
	return server
}

// signer returns the key that signed a request to STS.
func signer(r *http.Request, body []byte) (Key, bool) {
	keys := []Key{KongUser, KongRole, VaultUser}
	given := r.Header.Get("Authorization")
	n := slices.IndexFunc(keys, func(k Key) bool { return strings.Contains(given, "Credential="+k.ID+"/") })
	_, list, found := strings.Cut(given, "SignedHeaders=")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if n < 0 || !found || err != nil {
		return Key{}, false
	}
	key := keys[n]
	again := r.Clone(r.Context())
	again.URL.Scheme, again.URL.Host = "http", r.Host
	again.URL.Path = path.Clean(r.URL.Path) // Vault requests //, and the signature is for the path without that
	list, _, _ = strings.Cut(list, ",")
	signed := strings.Split(list, ";")
	for name := range again.Header {
		if !slices.Contains(signed, strings.ToLower(name)) {
			again.Header.Del(name)
		}
	}
	sum := sha256.Sum256(body)
	credentials := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: key.Session}
	if v4.NewSigner().SignHTTP(r.Context(), credentials, again, hex.EncodeToString(sum[:]), "sts", Region, at) != nil {
		return Key{}, false
	}
	return key, again.Header.Get("Authorization") == given && r.Header.Get("X-Amz-Security-Token") == key.Session
}
