// Package fleet lets the plugin servers of several nodes hear of each other's changes,
// through a stream of Redis or Valkey.
//
// A node reads the stream from where it left off, so one that was away misses nothing;
// where the stream doesn't reach back that far, it has all that is cached verified.
// Messages hold fingerprints and blocks, never a token, and are signed (HMAC-SHA-256)
// with a key that the nodes share: whoever can only write to Redis can't drop anybody's
// cache, and a message that is sent again is known and ignored. Blocks are also kept in
// a hash, since the stream is cut at its end.
//
// All of it saves time and nothing more. While Redis is down a message and a metric say
// so, requests wait for nothing, and changes are noticed as they are without it.
package fleet
