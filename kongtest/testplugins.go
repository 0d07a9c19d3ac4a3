//go:build testplugins

package kongtest

// The plugin in testdata is built by the tests, where go mod tidy doesn't look.
import _ "github.com/Kong/go-pdk/server"
