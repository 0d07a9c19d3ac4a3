package hashivault

import "cmp"

// serviceAccountToken is where Kubernetes mounts a pod's own token.
const serviceAccountToken = "/var/run/secrets/kubernetes.io/serviceaccount/token"

func (c *checker) kubernetes() method {
	role := c.required("kube_role", c.cfg.KubeRole)
	c.nodeIdentity("service account")
	return &login{
		mount:  c.authMount("kube_auth_path", c.cfg.KubeAuthPath, "kubernetes"),
		hint:   "check kube_role, and that the role is bound to this pod's service account and namespace",
		secret: fileSecret("read kube_api_token_file", cmp.Or(c.cfg.KubeAPITokenFile, serviceAccountToken)),
		body:   jwtBody(role),
	}
}
