package issuers

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// ServiceAccount is a token of a service account in the namespace gateway.
func (k Key) ServiceAccount(name string) string {
	return k.Sign(map[string]any{
		"sub":           "system:serviceaccount:gateway:" + name,
		"kubernetes.io": map[string]any{"namespace": "gateway", "serviceaccount": map[string]any{"name": name, "uid": "1"}},
	})
}

// Cluster is a Kubernetes cluster's API as far as Vault asks it: whether a token is
// genuine, which one is, that of gateway's service account kong.
func Cluster(t *testing.T, token string) *httptest.Server {
	t.Helper()
	cluster := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct{ Spec struct{ Token string } }
		err := json.NewDecoder(r.Body).Decode(&review)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": {
			"authenticated": %t, "audiences": ["vault"],
			"user": {"username": "system:serviceaccount:gateway:kong", "uid": "1", "groups": ["system:serviceaccounts"]}
		}}`, err == nil && review.Spec.Token == token)
	}))
	t.Cleanup(cluster.Close)
	return cluster
}
