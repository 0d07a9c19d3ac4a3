package akvsim

import (
	"crypto/tls"
	"sync"

	"kong-vault-auth/certificatetest"
)

// authority is a CA that certifies any host on demand. Clients that trust it
// trust the simulator in the name of all of Azure, so its key never leaves the
// process and its certificates end after a day.
type authority struct {
	ca certificatetest.Pair

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

func newAuthority() *authority {
	return &authority{ca: certificatetest.NewCA(), leaves: map[string]*tls.Certificate{}}
}

// leaf returns the certificate of a host.
func (a *authority) leaf(host string) *tls.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaves[host] == nil {
		leaf := a.ca.Issue(host).TLS()
		a.leaves[host] = &leaf
	}
	return a.leaves[host]
}
