package clouds

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"kong-vault-auth/certificatetest"
)

// Instance is an EC2 instance of the image ami-1.
type Instance struct {
	Metadata    *httptest.Server // for AWS_EC2_METADATA_SERVICE_ENDPOINT
	EC2         *httptest.Server // the API at which Vault looks the instance up
	Certificate []byte           // in PEM; its key signed the identity document
}

// NewInstance starts an instance.
func NewInstance(t *testing.T) *Instance {
	t.Helper()
	signer := certificatetest.SelfSignedRSA()
	pending := time.Now().UTC().Add(-time.Minute).Format("2006-01-02T15:04:05Z")
	document := `{"accountId":"123456789012","imageId":"ami-1","instanceId":"i-1","region":"` + Region + `","pendingTime":"` + pending + `"}`
	digest := sha256.Sum256([]byte(document))
	signature, err := signer.Key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	i := &Instance{
		Metadata:    httptest.NewServer(metadata(document, base64.StdEncoding.EncodeToString(signature))),
		EC2:         httptest.NewServer(http.HandlerFunc(describeInstances)),
		Certificate: []byte(signer.PEM()),
	}
	t.Cleanup(i.Metadata.Close)
	t.Cleanup(i.EC2.Close)
	return i
}

// metadata is version 2 of the instance metadata service.
func metadata(document, signature string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
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
	}
}

func describeInstances(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item><instancesSet><item>
		<instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name></instanceState>
		</item></instancesSet></item></reservationSet></DescribeInstancesResponse>`)
}
