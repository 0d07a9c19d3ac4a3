// Package admin is the Admin API of vault-auth: vault objects and credentials over
// HTTP, with the paths, bodies and status codes that Kong Enterprise documents for its
// plugin of that name. It is only the HTTP side: package manage changes credentials, and
// package vault changes vault objects.
//
// serve.go listens and lets clients in; server.go has the routes; objects.go and
// credentials.go answer them. openapi.yaml describes the API.
package admin
