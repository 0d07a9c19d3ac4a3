// Package azurevault is a secretstore.Store on Azure Key Vault: one secret per
// credential, whose value is the credential's record as JSON.
//
// A secret is named for the access token it belongs to (see Open), and read
// with one of the identities that Azure offers. Key Vault's own notion of
// whether a secret is in use is honoured: one that is disabled, or outside its
// activation and expiration dates, is a definite no, although Key Vault itself
// hands out the latter.
//
// What Key Vault, Entra ID and the managed identity endpoints answer is turned
// into the outcomes of secretstore.Store. A failure says in an operator's words what
// is wrong and what to do; it never repeats what it was told except for what
// cannot hold a name or a secret, because Key Vault's own messages name the
// secret, and with it the access token.
package azurevault
