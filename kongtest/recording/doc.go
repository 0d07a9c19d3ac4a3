// Package recording keeps what a genuine Kong does with external plugins, as
// data, to check kongtest/gateway against it.
//
// A [Case] is one request and what a plugin does with it. [Run] drives any
// [Kong] through all cases, with a plugin server ([Probe]) and a service
// ([Upstream]), and returns what each side saw: the
// replies to the plugin's calls, the request that reached the service, and the
// answer that reached the client. [LifeCycle] does the same for the calls that
// start and close instances. The command kongtest/record runs them on a
// genuine Kong and writes the files in kongtest/testdata/genuine; the tests of
// kongtest/gateway run them on that gateway and compare.
package recording
