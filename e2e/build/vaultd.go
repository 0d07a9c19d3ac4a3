package build

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Vaultd compiles e2e/vaultd and returns the program's path. A program of the same sources and
// Go version is reused. The first build takes minutes, which progress reports, and again while
// it lasts. Simultaneous calls, also of other processes, wait for one build.
func Vaultd(ctx context.Context, progress func(string)) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	source, cache := filepath.Join(root, "e2e", "vaultd"), filepath.Join(root, ".cache")
	hash, err := sourceHash(source)
	if err != nil {
		return "", err
	}
	program := filepath.Join(cache, "vaultd-"+hash)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(cache, "vaultd.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}

	progress("building a Vault server from source: once, and it takes minutes (or set VAULT_BIN to a vault program)")
	stop := every(30*time.Second, func(passed time.Duration) {
		progress(fmt.Sprintf("still building the Vault server, for %s now", passed.Round(time.Second)))
	})
	defer stop()
	// Renamed when complete, so that an interrupted build leaves no half program.
	partial := program + ".partial"
	static := []string{"CGO_ENABLED=0"}
	err = goCommand(ctx, "e2e/vaultd", static, "build", "-mod=readonly", "-trimpath", "-ldflags=-s -w", "-o", partial, ".")
	if err != nil {
		return "", err
	}
	return program, os.Rename(partial, program)
}

// sourceHash names the contents of a folder and what compiles it.
func sourceHash(dir string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) == ".md" {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		fmt.Fprintln(h, name)
		_, err = io.Copy(h, f)
		return err
	})
	return fmt.Sprintf("%x", h.Sum(nil))[:12], err
}

// lock waits for the exclusive use of a file among processes.
func lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f.Close, nil
}

// every calls report at each interval, with the time that has passed, until it is stopped.
func every(interval time.Duration, report func(passed time.Duration)) (stop func()) {
	began, ticker, done := time.Now(), time.NewTicker(interval), make(chan struct{})
	go func() {
		for {
			select {
			case <-ticker.C:
				report(time.Since(began))
			case <-done:
				return
			}
		}
	}()
	return func() {
		ticker.Stop()
		close(done)
	}
}
