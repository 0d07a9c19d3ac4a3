// Package testbuild builds the programs that tests run.
package testbuild

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Run builds packages into a temporary folder, whose path it stores in dir,
// and runs the tests. It returns the exit code.
func Run(m *testing.M, dir *string, packages ...string) int {
	tmp, err := os.MkdirTemp("", "kongtest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tmp)
	*dir = tmp
	build := exec.Command("go", append([]string{"build", "-o", tmp}, packages...)...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the tests' programs: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
