package azurevault

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
)

// TestMain runs the tests with the SDK's logging on, as with AZURE_SDK_GO_LOGGING=all,
// and fails if a name of a secret was logged.
func TestMain(m *testing.M) {
	var mu sync.Mutex
	var leaked []string
	azlog.SetListener(func(_ azlog.Event, message string) {
		if strings.Contains(message, "/secrets/") || secrets.MatchString(message) {
			mu.Lock()
			defer mu.Unlock()
			leaked = append(leaked, message)
		}
	})
	code := m.Run()
	mu.Lock()
	if len(leaked) > 0 {
		fmt.Printf("the SDK logged %d times what it must not, first: %s\n", len(leaked), leaked[0])
		code = 1
	}
	os.Exit(code)
}
