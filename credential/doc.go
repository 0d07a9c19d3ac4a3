// Package credential knows the token pair: the form of its tokens, the record
// that a secret store keeps of it, and how a presented secret is verified
// without keeping the stored one. It does no I/O.
//
// The way of a credential: a client's access token passes CheckAccessToken, a
// secret store finds the record of that name, Parse reads it, a Sealer turns it
// into a Credential (digests only, which is what is cached), and Verify tells
// whether the client's secret token proves it.
package credential
