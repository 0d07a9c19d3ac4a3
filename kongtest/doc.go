// Package kongtest is Kong's side of the plugin-server protocol, for tests of
// external plugins. A [Client] starts instances over a plugin server's unix
// socket and runs events on a made-up [Request]; an [Outcome] holds everything
// that the plugin did.
//
// Other packages build on it: kongtest/gateway is a small Kong that runs a
// plugin's binary and serves HTTP, and kongtest/serve a program that serves a
// kong.yml with it. kongtest/schema, Kong's schema language, is independent of
// this package.
//
// Where Kong behaves oddly, this package does too, since a plugin must cope with
// it: header lists are cut at their limit without an
// error, values cross the wire as Lua's protobuf library encodes them (no
// UTF-8 check in either direction), a Lua error inside a PDK call is a 500. The
// behaviour is that of Kong 3.9, and is checked against recordings of a genuine
// Kong: see kongtest/recording and testdata/genuine.
package kongtest
