// Package hashivault is a secretstore.Store on HashiCorp Vault: credentials kept in a
// KV secrets engine, version 1 or 2, below one path of one mount.
//
// # Reading
//
// A record is read with a plain request whose answer is judged by what it says,
// not by its status alone. vault/api's own readers take a 404 of a mount that
// has moved, and an empty 200 of a load balancer, for a secret that isn't there;
// here only Vault's own word that a secret doesn't exist is a definite no, and
// everything that merely looks like absence is a failure. See outcome.go.
//
// # Logging in
//
// One goroutine per store owns its Vault token: it logs in, has the token
// renewed, and logs in again when renewal ends or a read finds the token
// refused. There is never more than one login at a time, and a login that fails
// is repeated after a growing pause during which reads fail at once instead of
// waiting. See session.go and tend.go. The ways to log in are methods: method.go.
//
// # What never leaves
//
// Errors and log lines hold no Vault token, secret id, wrapping token or secret
// token, and no access token either: paths end in the credential's fingerprint.
// Errors of vault/api and net/http carry URLs, so they are mapped to fields
// rather than wrapped.
//
// # What never enters
//
// The environment has no effect on a store that is open. Objects that may have
// something of it get it before (Config.FromEnvironment), and what vault/api takes
// from it is put back; only the proxy settings that net/http itself honours remain.
package hashivault
