// Package build compiles the programs that the end-to-end tests, the benchmarks and the demo
// run.
package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Root is the project's root folder, searched upwards from the working
// directory: the nearest folder with an e2e/vaultd in it.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "e2e", "vaultd", "go.mod")); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not inside the project: no e2e/vaultd in this folder or above it")
		}
		dir = parent
	}
}

// Plugin compiles the plugin to the file dst, whose base name is the name
// that Kong will know the plugin by. With race the binary has the race detector, which
// needs cgo. Other settings are those of go test, so that packages compiled for the tests
// are reused.
func Plugin(ctx context.Context, dst string, race bool) error {
	args := []string{"build", "-o", dst}
	if race {
		args = append(args, "-race")
	}
	return goCommand(ctx, ".", nil, append(args, ".")...)
}

// Program compiles the program in a folder of the project, as a static one, to the file dst.
func Program(ctx context.Context, folder, dst string) error {
	return goCommand(ctx, folder, []string{"CGO_ENABLED=0"}, "build", "-o", dst, ".")
}

// goCommand runs the go command in a folder of the project, with env added to
// the environment. Its error holds what the command printed.
func goCommand(ctx context.Context, folder string, env []string, args ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = filepath.Join(root, folder)
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s in %s: %w\n%s", args[0], cmd.Dir, err, out)
	}
	return nil
}
