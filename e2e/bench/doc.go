// Package bench measures the plugin against go-pdk's own plugin server.
package bench
