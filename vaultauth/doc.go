// Package vaultauth is the plugin: its configuration, what it does with a
// request in Kong's access phase, and what it answers clients.
//
// A request comes in at handler.Access (access.go), which reads from top to
// bottom as the phase happens: ask Kong for the request, find the two tokens,
// look the pair up, find the consumer, tell Kong who is calling. Each step is
// a file of its own.
package vaultauth
