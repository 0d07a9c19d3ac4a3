// Package pluginserver serves plugins to Kong over Kong's plugin-server
// protocol ("ProtoBuf:1"), on go-pdk's protobuf types.
//
// It replaces go-pdk's server.StartServer and keeps its command line, socket path and dump.
// It differs where a plugin that decides who may pass needs more than that server gives:
//
//   - An event ends only on an explicit [Verdict]. No verdict, a panic, a
//     deadline or a reply that can't be read all end in an answer to the
//     client, never in a proxied request, and never in a connection closed
//     half-way, which would make Kong run the same event again without end.
//   - Calls that have no result are sent together with the end of the event,
//     and their empty replies are read afterwards. So an event waits on the
//     socket once for each round of questions.
//   - Instance ids are random. Kong keeps ids across a restart of the plugin
//     server; with a counter a request could run with another route's
//     configuration.
//   - An invalid configuration gets an instance whose requests are answered
//     500 and whose reason is in Kong's error log.
//   - The socket outlives a server: systemd may pass it on, or a new server takes
//     its path over while the old one still runs, in an upgrade in place or at a
//     `kong reload` with a start command. The old one sends Kong to the new one.
//
// A frame is a length of 4 bytes, little-endian, and that many bytes. Kong
// sends an RpcCall. While an event runs, the plugin writes a frame with the
// name of a PDK function and one with its argument, and Kong answers each pair
// with one frame, in order. An empty name ends the event; an RpcReturn follows
// it. See kong/runloop/plugin_servers/rpc/pb_rpc.lua in Kong's sources.
package pluginserver
