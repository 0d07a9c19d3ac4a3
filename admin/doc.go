// Package admin is the Admin API of vault-auth: vault objects and credentials over
// HTTP, with the paths, bodies and status codes that Kong Enterprise documents for its
// plugin of that name. It decides nothing about credentials itself: package manage
// does, and package vault about vault objects.
package admin
