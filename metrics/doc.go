// Package metrics shows what the plugin counts to Prometheus. It is the only
// package that knows of Prometheus: the others count, and have a Stats method.
//
// Handler answers with all metrics, Start serves it at an address, and Table is
// the reference in docs/metrics.md. No token, fingerprint or client's address is in
// a metric: labels are words of this program's and the names of vault objects.
package metrics
