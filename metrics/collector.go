// Package metrics shows what the plugin counts to Prometheus. It is the only
// package that knows of Prometheus: the others count, and have a Stats method.
//
// Handler answers with all metrics, Start serves it at an address, and Table is
// the reference in docs/metrics.md. No token, fingerprint or client's address is in
// a metric: labels are words of this program's and the names of vault objects.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"kong-vault-auth/fleet"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/vault"
	"kong-vault-auth/vaultauth"
)

// Source is where the values come from. Its functions are called at each scrape, possibly
// concurrently.
type Source struct {
	Version string                         // of this program
	Plugin  func() vaultauth.Stats         // vaultauth.Plugin.Stats
	Secrets func() []pluginserver.Answered // vaultsecrets.Plugin.Stats
	Objects func() []vault.Stats           // vault.Registry.Stats
	LeftOut func() (lines uint64)          // pluginserver.Log.LeftOut
	Events  func() fleet.Stats             // fleet.Node.Stats; nil: there are no events
}

// The metrics of the process. Those of vault objects are in object.go.
var (
	buildInfo = newMetric(gauge, "build_info", "Build information: always 1, with the version as a label.", "version")
	requests  = newMetric(counter, "requests_total", "Requests by answer: `ok`, `anonymous`, `preflight`, `other_plugin` (it had authenticated the request already), or the status of the answer; and by the reason of a refusal or failure.", "answer", "reason")
	upstream  = newMetric(counter, "secrets_requests_total", "Requests of the plugin `vault-secrets` by answer: `ok` (sent on with their secrets), `503` (a secret can't be had) or `500`; and by the reason of the latter two.", "answer", "reason")
	consumers = newMetric(gauge, "consumers", "Kong consumers in memory.")
	mostOf    = newMetric(gauge, "consumers_max", "How many consumers may be in memory.")
	connected = newMetric(gauge, "events_connected", "With VAULT_AUTH_EVENTS: 1 while this node is connected to Redis, otherwise 0.")
	events    = newMetric(counter, "events_total", "With VAULT_AUTH_EVENTS: messages between nodes: `sent`, `applied`, `replayed` (known already), `stale` (too old), `forged` (not signed with the key, or unreadable), `lost_connection`, and `verified` (everything was looked up again, since messages may have been missed).", "event")
	leftOut   = newMetric(counter, "log_lines_left_out_total", "Log lines left out because a similar one had appeared within a minute.")
)

// all are all metrics, in the reference's order.
func all() []metric {
	ms := []metric{buildInfo, requests}
	for _, m := range objectMetrics {
		ms = append(ms, m.metric)
	}
	return append(ms, lookupDuration, upstream, consumers, mostOf, connected, events, leftOut)
}

type collector struct{ source Source }

// NewCollector returns what collects all metrics that begin with vault_auth_.
func NewCollector(s Source) prometheus.Collector { return &collector{s} }

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range all() {
		ch <- m.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- buildInfo.at(1, c.source.Version)
	plugin := c.source.Plugin()
	for _, r := range plugin.Requests {
		ch <- requests.at(float64(r.Count), r.Answer, r.Reason)
	}
	for _, r := range c.source.Secrets() {
		ch <- upstream.at(float64(r.Count), r.Answer, r.Reason)
	}
	ch <- consumers.at(float64(plugin.Consumers))
	ch <- mostOf.at(float64(plugin.MaxConsumers))
	if c.source.Events != nil {
		collectEvents(ch, c.source.Events())
	}
	ch <- leftOut.at(float64(c.source.LeftOut()))
	for _, s := range c.source.Objects() {
		collectObject(ch, &s)
	}
}

func collectEvents(ch chan<- prometheus.Metric, s fleet.Stats) {
	linked := 0.0
	if s.Connected {
		linked = 1
	}
	ch <- connected.at(linked)
	for event, n := range map[string]uint64{
		"sent": s.Sent, "applied": s.Applied, "replayed": s.Replayed, "stale": s.Stale, "forged": s.Forged,
		"lost_connection": s.Failures, "verified": s.Verified,
	} {
		ch <- events.at(float64(n), event)
	}
}
