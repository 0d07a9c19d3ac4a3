package hashivault

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A Kubernetes volume exchanges a link beside the file, never the file itself.
func TestFilesOfKubernetesVolumesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	version := func(name, contents string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		replaceFile(t, filepath.Join(dir, name, "token"), contents)
		link := filepath.Join(dir, "..new")
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	version("1", "first")
	file := filepath.Join(dir, "token")
	if err := os.Symlink("..data/token", file); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := make(chan string, 8)
	go newFileWatch([]string{file}).run(ctx, func(f string) { changes <- f })
	version("2", "second")
	if got := <-changes; got != file {
		t.Errorf("%s has changed", got)
	}
}

func TestChmodIsAChange(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	replaceFile(t, file, "contents")
	before := contents(file)
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if contents(file) == before {
		t.Error("a file that was mended by chmod would not be read again")
	}
}
