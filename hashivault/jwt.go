package hashivault

import (
	"github.com/hashicorp/vault/api"
)

func (c *checker) jwt() method {
	role := c.required("jwt_role", c.cfg.JWTRole)
	file := c.required("jwt_token_file", c.cfg.JWTTokenFile)
	mount := c.loginPath("jwt_auth_path", c.cfg.JWTAuthPath, "jwt")
	return &login{
		mount:  mount,
		hint:   "check jwt_role, and that the token's issuer, audience and claims are those the role is bound to",
		secret: fileSecret("read jwt_token_file", file),
		with: func(jwt string) (api.AuthMethod, error) {
			return loginBody{mount, map[string]any{"role": role, "jwt": jwt}}, nil
		},
	}
}
