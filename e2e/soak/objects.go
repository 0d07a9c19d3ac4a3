package main

import "time"

// vaultObject is one of the plugin's vault objects. Each has a route and credentials of its
// own.
type vaultObject struct {
	name    string
	ttl     time.Duration
	budget  int  // lookups a second that find nothing, of which one client address has a tenth
	revokes bool // by listings
	keeps   bool // a snapshot
}

// Their ttls are shorter than the default, so that everything that can happen to a credential
// happens in seconds.
var (
	plain      = &vaultObject{name: "plain", ttl: time.Second, budget: 1000}
	unresolved = &vaultObject{name: "unresolved", ttl: time.Second, budget: 1000} // at a host whose name doesn't resolve
	listed     = &vaultObject{name: "listed", ttl: time.Hour, budget: 1000, revokes: true}
	kept       = &vaultObject{name: "kept", ttl: time.Second, budget: 1000, keeps: true}
	limited    = &vaultObject{name: "limited", ttl: time.Second, budget: 100} // the default budget
)

var vaultObjects = []*vaultObject{plain, unresolved, listed, kept, limited}

const (
	negTTL             = time.Second
	revocationInterval = 2 * time.Second
)

func (o *vaultObject) path() string { return "/" + o.name }

// folder is where the store keeps its credentials.
func (o *vaultObject) folder() string { return "kong-auth-" + o.name }

// declare is the object in Kong's declarative form. dir is a folder for its snapshot, keyFile
// holds the snapshot's key.
func (o *vaultObject) declare(s store, dir, keyFile string) object {
	kind, config := s.object(o.folder())
	config["ttl"], config["neg_ttl"], config["max_lookups_per_second"] = o.ttl.Seconds(), negTTL.Seconds(), o.budget
	if o.revokes {
		config["revocation_interval"] = revocationInterval.Seconds()
	}
	if o.keeps {
		config["snapshot_file"], config["snapshot_key_file"] = dir+"/snapshot", keyFile
	}
	if o == unresolved {
		for field, value := range s.nowhere() {
			config[field] = value
		}
	}
	return object{"name": kind, "prefix": o.name, "config": config}
}
