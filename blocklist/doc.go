// Package blocklist knows which credentials and consumers are refused whatever their
// store says, so that a leaked one can be stopped while the store is down.
//
// A list lives in a file of the node, which is signed with a key from another file
// (HMAC-SHA-256) and watched. A file that can't be trusted is reported, and changes
// nothing: what is known to be blocked stays so. Entries name credentials by
// fingerprint, or by a keyed digest of the access token, which holds for every store;
// no token is in the file.
//
// Lists of several nodes are brought together by merging: of two entries about the same
// credential, the one that was made later counts, whatever arrives first. So an old
// message can't undo a newer decision.
package blocklist
