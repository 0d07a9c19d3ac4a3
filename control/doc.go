// Package control is the local API at which the operator's commands and the Admin API
// speak to the plugin server of their node: to ask for the state of its vault objects, and
// to make it forget credentials at once.
//
// It is HTTP on a unix socket of mode 0600, with JSON in both directions. Only the plugin
// server's own user and root may connect, by the kernel's word. Requests of Kong's clients
// never reach it.
//
// Whoever has changed a credential in a store calls [Client.Changed].
package control
