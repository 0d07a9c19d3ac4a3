// Package fleet tells the plugin servers of several nodes about each other's changes,
// through a stream in Redis or Valkey.
//
// A node reads the stream from where it left off, so one that was away misses nothing. If the
// stream doesn't reach back that far, everything in its cache is verified.
// Messages hold fingerprints and blocks, never a token, and are signed (HMAC-SHA-256)
// with a key that the nodes share: access to Redis alone is not enough to drop anybody's
// cache, and a message that is replayed is recognised and ignored. Blocks are also kept in
// a hash, since old entries of the stream are deleted.
//
// The fleet only saves time. While Redis is down, the log and a metric say so, no request
// waits, and changes are noticed as they are without it.
package fleet
