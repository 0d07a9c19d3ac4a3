// Package control is the socket at which the operator's commands and the Admin API
// speak to the plugin server of their node: what it knows of its vault objects, and
// what it must forget at once.
//
// It is HTTP on a unix socket of mode 0600, with JSON in both directions; the kernel
// says who is at the other end, and only the plugin server's own user and root may
// speak. Requests of clients never come near it.
//
// Whoever has changed a credential in a store calls [Client.Changed].
package control
