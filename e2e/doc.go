// Package e2e tests the whole of it: the compiled plugin, a real Vault server,
// an upstream, and a gateway. The gateway is kongtest's, or with
// E2E_KONG=/path/to/kong a genuine Kong; the scenarios are the same, and where
// the two differ a test says so in its log. VAULT_BIN names a vault program to
// use instead of the one that is built from e2e/vaultd.
package e2e
