// Package azurevault is a secretstore.Store on Azure Key Vault: one secret per
// credential, whose value is the credential's record as JSON.
//
// A secret is named after its access token (see Open), and read with one of Azure's
// identities (identity.go). login.go keeps the access token that all reads share. The secret's attributes are honoured: a disabled secret, or one
// outside its activation and expiration dates, is a negative answer, although Key
// Vault returns the value of the latter.
//
// The answers of Key Vault, Entra ID and the managed identity endpoints become the
// outcomes of secretstore.Store. A failure says in an operator's terms what is wrong
// and what to do. It repeats only those parts of an answer that can't contain a name
// or a secret, because Key Vault's messages contain the secret's name, and so the
// access token. failure.go explains the answers of Key Vault, entra.go those to a login,
// and network.go requests without an answer.
package azurevault
