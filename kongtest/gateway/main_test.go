package gateway

import (
	"os"
	"testing"

	"kong-vault-auth/kongtest/internal/testbuild"
)

// binaries holds the plugins that the tests run, built once.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(testbuild.Run(m, &binaries, "../testdata/pdkplugin", "../testdata/wireplugin"))
}
