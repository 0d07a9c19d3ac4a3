// Package vaultsecrets is the plugin vault-secrets: it puts secrets of HashiCorp Vault and
// Azure Key Vault into requests on their way to the upstream, as headers, query arguments
// or an Authorization header. A value is a template, in which references such as
// {vault://azure/upstream-key/value} stand for secrets.
//
// Access (access.go) is the whole of it. What a client has sent under a name that is set
// here never reaches the upstream, however it is spelled, and a request for which a secret
// can't be had is answered 503.
package vaultsecrets
