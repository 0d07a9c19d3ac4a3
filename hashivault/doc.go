// Package hashivault is a secretstore.Store on HashiCorp Vault: credentials kept in a
// KV secrets engine, version 1 or 2, below one path of one mount.
//
// # Reading
//
// A record is read with a plain request, and the body of the answer counts, not the
// status alone. The readers in vault/api report a missing secret for a 404 from a
// mount that has moved, and for an empty 200 from a load balancer. Here a negative
// answer needs Vault's explicit statement that the secret doesn't exist; everything
// else that looks like absence is a failure. See outcome.go.
//
// # Logging in
//
// One goroutine per store owns its Vault token: it logs in, renews the token, and
// logs in again when renewal ends or Vault refuses the token for a read. There is
// never more than one login at a time. A login that fails is retried with backoff;
// reads fail immediately until the next attempt. See session.go and maintenance.go.
// The auth methods are in method.go.
//
// # Secrets in errors and logs
//
// Errors and log lines hold no Vault token, secret id, wrapping token or secret
// token, and no access token: paths end in the credential's fingerprint. Errors of
// vault/api and net/http contain URLs, so their parts are copied and the errors
// themselves are not wrapped.
//
// # The environment
//
// The environment has no effect on an open store. Objects that may use it are
// completed from it before (Config.FromEnvironment), and settings that vault/api
// reads from it are reset. Only the proxy settings of net/http remain.
package hashivault
