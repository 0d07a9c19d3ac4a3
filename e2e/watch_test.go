package e2e

import "strings"

// startUnderWatch starts a gateway with one route, whose plugin server gets env.
// Nothing that is hidden when it ends may be in what it has logged, at any
// level.
func (w *testEnv) startUnderWatch(r route, env []string, hidden *[]string) gateway {
	w.Helper()
	var names []string
	for _, line := range env {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, name)
	}
	env = append(env, "KONG_NGINX_MAIN_ENV="+strings.Join(names, "; env "), "KONG_LOG_LEVEL=info")
	var g gateway
	w.Cleanup(func() { // after its end
		if g == nil {
			return // it has not started
		}
		log := allLevels(g)
		for _, secret := range *hidden {
			if strings.Contains(log, secret) {
				w.Errorf("%s is in the log:\n%s", secret, log)
			}
		}
	})
	g = start(w.T, w.declare(consumers(), r), env...)
	return g
}

// node is the environment in which a plugin server has this environment's Vault as the
// vault object hcv, whose credentials are kept for an hour.
func (w *testEnv) node() []string {
	return []string{
		"KONG_VAULT_HCV_HOST=127.0.0.1", "KONG_VAULT_HCV_PORT=" + string(portOf(w.vault.Addr)),
		"KONG_VAULT_HCV_MOUNT=" + w.kv.Mount, "KONG_VAULT_HCV_PATH=" + w.kv.Path, "KONG_VAULT_HCV_KV=v2",
		"KONG_VAULT_HCV_TOKEN=" + w.token, "KONG_VAULT_HCV_TTL=3600",
	}
}
