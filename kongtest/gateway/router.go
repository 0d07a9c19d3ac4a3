package gateway

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/internal/nginx"
)

// routeEntity is a route and how requests are matched to it.
type routeEntity struct {
	kongtest.Route
	Headers       map[string][]string `json:"headers"`
	RegexPriority int                 `json:"regex_priority"`

	service *kongtest.Service
	order   int
	regexes map[string]*regexp.Regexp // of the paths that start with ~
}

// match is a route that a request has matched.
type match struct {
	*routeEntity
	prefix string // the part of the path that matched

	attributes int // how many kinds of attributes matched
	plainHost  bool
	headers    int
	regex      bool
}

func (r *routeEntity) compile() error {
	if slices.ContainsFunc(r.Protocols, func(p string) bool { return strings.HasPrefix(p, "grpc") }) {
		r.StripPath = false // Kong never strips the path of a gRPC route
	}
	r.regexes = map[string]*regexp.Regexp{}
	for _, p := range r.Paths {
		if expr, ok := strings.CutPrefix(p, "~"); ok {
			re, err := regexp.Compile("^(?:" + expr + ")")
			if err != nil {
				return fmt.Errorf("invalid regex: '%s': %w", expr, err)
			}
			r.regexes[p] = re
		}
	}
	return nil
}

// route finds the route of a request as Kong's traditional router does: the one of
// which most kinds of attributes match, and among equals the most exact.
func (c *configuration) route(req *kongtest.Request) *match {
	path := req.Path()
	path = nginx.NormalizePath(path)
	var best *match
	for _, r := range c.routes {
		if m := r.match(req, path); m != nil && (best == nil || m.compare(best) < 0) {
			best = m
		}
	}
	return best
}

func (r *routeEntity) match(req *kongtest.Request, path string) *match {
	m := &match{routeEntity: r}
	if len(r.Methods) > 0 {
		if !slices.Contains(r.Methods, req.Method) {
			return nil
		}
		m.attributes++
	}
	if len(r.Hosts) > 0 {
		ok := false
		for _, h := range r.Hosts {
			if hostMatches(h, req.Host) {
				ok = true
				m.plainHost = m.plainHost || !strings.Contains(h, "*")
			}
		}
		if !ok {
			return nil
		}
		m.attributes++
	}
	if len(r.Headers) > 0 {
		for name, wanted := range r.Headers {
			given := req.Values(name)
			if !slices.ContainsFunc(given, func(v string) bool {
				return slices.ContainsFunc(wanted, func(w string) bool { return strings.EqualFold(v, w) })
			}) {
				return nil
			}
		}
		m.attributes++
		m.headers = len(r.Headers)
	}
	if len(r.Paths) > 0 && !m.matchPath(path) {
		return nil
	}
	return m
}

func (m *match) matchPath(path string) bool {
	found := false
	for _, p := range m.Paths {
		var prefix string
		if re := m.regexes[p]; re != nil {
			loc := re.FindStringIndex(path)
			if loc == nil {
				continue
			}
			prefix = path[:loc[1]]
			m.regex = true
		} else {
			if !strings.HasPrefix(path, p) {
				continue
			}
			prefix = p
		}
		if !found || len(prefix) > len(m.prefix) {
			m.prefix = prefix
		}
		found = true
	}
	if found {
		m.attributes++
	}
	return found
}

// compare is negative if m has priority over o.
func (m *match) compare(o *match) int {
	priority := 0
	if m.regex && o.regex {
		priority = o.RegexPriority - m.RegexPriority
	}
	return cmp.Or(
		o.attributes-m.attributes,
		truth(o.plainHost)-truth(m.plainHost),
		o.headers-m.headers,
		truth(o.regex)-truth(m.regex),
		priority,
		len(o.prefix)-len(m.prefix),
		m.order-o.order,
	)
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func hostMatches(pattern, host string) bool {
	pattern = strings.ToLower(nginx.HostOnly(pattern))
	if tail, ok := strings.CutPrefix(pattern, "*"); ok {
		return strings.HasSuffix(host, tail) && len(host) > len(tail)
	}
	if head, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(host, head) && len(host) > len(head)
	}
	return host == pattern
}

// upstreamPath joins a service's path and a request's as Kong's path handling
// v0 does.
func (m *match) upstreamPath(path string) string {
	base := "/"
	if m.service.Path != "" {
		base = m.service.Path
	}
	rest := path
	if m.StripPath {
		rest = strings.TrimPrefix(path, m.prefix)
	}
	slash := strings.HasSuffix(base, "/")
	switch {
	case !m.StripPath && !slash && path == "/":
		return base
	case !m.StripPath, strings.HasPrefix(rest, "/"):
		return strings.TrimSuffix(base, "/") + rest
	case rest != "" && slash:
		return base + rest
	case rest != "":
		return base + "/" + rest
	case strings.HasSuffix(path, "/") && len(path) > 1 && !slash:
		return base + "/"
	case slash && base != "/" && !strings.HasSuffix(path, "/"):
		return strings.TrimSuffix(base, "/")
	}
	return base
}
