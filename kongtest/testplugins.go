//go:build testplugins

package kongtest

// The tests build the plugin in testdata, where go mod tidy doesn't look.
import _ "github.com/Kong/go-pdk/server"
