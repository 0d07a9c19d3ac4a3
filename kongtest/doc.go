// Package kongtest is Kong's side of the plugin-server protocol: enough of a
// gateway to run an external plugin's real binary without Kong, for tests,
// benchmarks, and trying a kong.yml.
//
// It has two layers. Client speaks the protocol over a plugin server's unix
// socket: it starts instances and runs events against a made-up Request, and
// tells in an Outcome everything that the plugin did. Gateway is what stands
// on it: plugin-server processes, workers, a declarative configuration, an
// HTTP front and a proxy.
//
// Where Kong's behaviour is odd, this package is odd in the same way, since a
// plugin must survive it: header lists are cut at their limit without an
// error, values cross the wire as Lua's protobuf library encodes them (no
// UTF-8 check in either direction), a Lua error inside a PDK call is a 500, an
// event whose connection the plugin closes is run again without bound. The
// behaviour is that of Kong 3.9, and checked against recordings of a genuine
// one: see package recording and testdata/genuine.
//
// The front reads HTTP/1 by itself, so that header lines and the request's
// target reach plugins and services byte for byte, in order, as through nginx;
// over HTTP/2 (without TLS) the order between different names is lost. There
// is no TLS listener, no Admin API, no stream proxy, no load balancing, and of
// Kong's own plugins only key-auth and request-termination, in part. Errors of
// Kong's are JSON whatever the client accepts.
package kongtest
