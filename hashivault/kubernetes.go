package hashivault

import (
	"cmp"

	"github.com/hashicorp/vault/api"
	"github.com/hashicorp/vault/api/auth/kubernetes"

	"kong-vault-auth/secretstore"
)

// serviceAccountToken is where Kubernetes puts a pod's own token.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

func (c *checker) kubernetes() method {
	role := c.required("kube_role", c.cfg.KubeRole)
	mount := c.loginPath("kube_auth_path", c.cfg.KubeAuthPath, "kubernetes")
	if !c.p.Node {
		c.p.Add("auth_method", "kubernetes logs in as the node's service account, and %s", secretstore.InsteadOfFile)
	}
	file := cmp.Or(c.cfg.KubeAPITokenFile, serviceAccountToken)
	return &login{
		mount:  mount,
		hint:   "check kube_role, and that the role is bound to this pod's service account and namespace",
		secret: fileSecret("read kube_api_token_file", file),
		with: func(jwt string) (api.AuthMethod, error) {
			return kubernetes.NewKubernetesAuth(role, kubernetes.WithMountPath(mount), kubernetes.WithServiceAccountToken(jwt))
		},
	}
}
