// Package kongtest is Kong's side of the plugin-server protocol, for tests of
// external plugins. A [Client] starts instances over a plugin server's unix
// socket and runs events on a made-up [Request]; an [Outcome] holds everything
// that the plugin did.
//
// What stands on it is in other packages: kongtest/gateway, a small Kong that
// runs a plugin's binary and serves HTTP; kongtest/serve, a program that serves
// a kong.yml with it; and, apart from both, kongtest/schema, Kong's schema
// language.
//
// Where Kong's behaviour is odd, this package is odd in the same way, since a
// plugin must survive it: header lists are cut at their limit without an
// error, values cross the wire as Lua's protobuf library encodes them (no
// UTF-8 check in either direction), a Lua error inside a PDK call is a 500. The
// behaviour is that of Kong 3.9, and is checked against recordings of a genuine
// one: see kongtest/recording and testdata/genuine.
package kongtest
