// Package gateway is a small Kong, enough to run an external plugin's real
// binary without Kong, for tests, benchmarks, and trying a kong.yml: workers,
// plugin servers, a declarative configuration, an HTTP front and a proxy.
// [Start] starts one for a test.
//
// It copies Kong's odd behaviour too, such as running an event again when the
// plugin closes the connection; only, Kong does so without limit, and this
// gateway up to Options.MaxRetries times.
//
// The front reads HTTP/1 by itself, so that header lines and the request's
// target reach plugins and services byte for byte, in order, as through nginx;
// over HTTP/2 (without TLS) the order between different names is lost. There
// is no TLS listener, no Admin API, no stream proxy, no load balancing, and of
// Kong's own plugins only key-auth, acl, request-termination and file-log, in part.
// Kong's error responses are JSON whatever the client accepts.
package gateway
