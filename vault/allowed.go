package vault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"kong-vault-auth/secretstore"
)

// Scope says which requests a plugin's configuration applies to, by the ids that Kong
// passes with it. An id is empty if the configuration isn't limited to one. Kong
// passes no names, and not the service of a route.
type Scope struct {
	Service   string
	Route     string
	Workspace string
}

// allowed says which plugin configurations may name a vault object that the node
// defines. Each list holds ids; an empty one limits nothing.
type allowed struct {
	Services   []string
	Routes     []string
	Workspaces []string
}

// The names of these lists in the vaults file.
const (
	allowedServices   = "allowed_services"
	allowedRoutes     = "allowed_routes"
	allowedWorkspaces = "allowed_workspaces"
)

// check returns an error, which matches ErrConfig, if a configuration may not name the
// object. If there is a list of workspaces, the configuration must be in one of them;
// if there is one of services or routes, it must be for one of these.
func (a *allowed) check(object string, s Scope) error {
	limits := len(a.Services) + len(a.Routes)
	switch {
	case len(a.Workspaces) > 0 && s.Workspace == "":
		return notAllowed(object, "Kong has told no workspace, as Kong 3.8 tells plugins none; "+allowedWorkspaces+" of the object needs Kong 3.9 or newer")
	case len(a.Workspaces) > 0 && !has(a.Workspaces, s.Workspace):
		return notAllowed(object, "it is in the workspace "+s.Workspace+", which is not in the object's "+allowedWorkspaces)
	case limits == 0 || has(a.Services, s.Service) || has(a.Routes, s.Route):
		return nil
	case s.Route != "":
		return notAllowed(object, "it is for the route "+s.Route+", which is not in the object's "+allowedRoutes)
	case s.Service != "":
		return notAllowed(object, "it is for the service "+s.Service+", which is not in the object's "+allowedServices)
	}
	return notAllowed(object, "it is for all services and routes, and the object has "+allowedServices+" or "+allowedRoutes)
}

func notAllowed(object, why string) error {
	return fmt.Errorf("%w: this configuration may not name %q: %s. Add the id to the vaults file "+
		"(Kong gives plugins only ids, and not the service of a route), or name another object", secretstore.ErrConfig, object, why)
}

func has(ids []string, id string) bool {
	return id != "" && slices.Contains(ids, strings.ToLower(id))
}

// readAllowed reads the lists of an object in the vaults file.
func readAllowed(entry map[string]*yaml.Node) (a allowed, err error) {
	for field, ids := range map[string]*[]string{
		allowedServices: &a.Services, allowedRoutes: &a.Routes, allowedWorkspaces: &a.Workspaces,
	} {
		n, set := entry[field]
		if !set {
			continue
		}
		if *ids, err = readIDs(n, field); err != nil {
			return allowed{}, err
		}
	}
	return a, nil
}

// readIDs reads a list of ids. An empty list would allow everything, which its author
// can't have meant, so it is an error.
func readIDs(n *yaml.Node, field string) ([]string, error) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return nil, at(n, "%s must be a list of ids; leave it out to allow all", field)
	}
	var ids []string
	for _, item := range n.Content {
		id, err := uuid.Parse(text(item))
		if err != nil || len(text(item)) != len(id.String()) {
			return nil, at(item, "%s holds %.80q, which is not an id such as 0dc6f45b-8f8d-40d2-a504-473544ee190b: Kong gives plugins only ids, no names", field, text(item))
		}
		ids = append(ids, id.String())
	}
	return ids, nil
}
