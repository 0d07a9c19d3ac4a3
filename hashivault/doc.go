// Package hashivault is a secretstore.Store on HashiCorp Vault: credentials kept in a
// KV secrets engine, version 1 or 2, below one path of one mount.
//
// # Reading
//
// A record is read with a plain request, and the body of the answer counts, not the
// status alone. The readers in vault/api report a missing secret for a 404 from a
// mount that has moved, and for an empty 200 from a load balancer. Here a negative
// answer requires Vault's explicit statement that the secret doesn't exist; everything
// else that looks like absence is a failure. See outcome.go. A 403 can concern the
// Vault token, the policy or one name: forbidden.go finds out which.
//
// # Logging in
//
// One goroutine per store owns its Vault token: it logs in, renews the token, and
// logs in again when renewal ends or Vault refuses the token for a read. There is
// never more than one login at a time. A login that fails is retried with backoff;
// reads fail immediately until the next attempt. See session.go and maintenance.go.
//
// auth.go says what an auth method is. Each has a file, auth_approle.go for example;
// issuer.go is for those that need another service than Vault. auth_sink.go keeps a
// token for the next process.
//
// # Files
//
//   - config.go, settings.go: the fields, the store's identity, and all checks
//   - store.go, read.go, list.go, secret.go: what the plugin does with a store
//   - write.go, inspect.go: what an operator's command does with it
//   - conn.go, transport.go, redirect.go, retry.go: requests to Vault
//   - failure.go: errors as messages with a remedy
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
// The environment has no effect on an open store. Config.FromEnvironment completes
// the objects that may use it before they are opened, and settings that vault/api
// reads from it are reset. Exceptions are the proxy settings of net/http, and what the
// AWS and Google libraries read when a login uses the node's own identity.
package hashivault
