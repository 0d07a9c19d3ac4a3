package securefile

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A watchedFolder is where a test changes things. Its watch has events only:
// the poll would find everything sooner or later.
type watchedFolder struct {
	*testing.T
	dir string
}

func (w watchedFolder) path(name string) string { return filepath.Join(w.dir, name) }

func (w watchedFolder) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w watchedFolder) write(name, contents string) {
	w.Helper()
	w.must(os.WriteFile(w.path(name), []byte(contents), 0o600))
}

func (w watchedFolder) mkdir(name string) {
	w.Helper()
	w.must(os.Mkdir(w.path(name), 0o700))
}

func (w watchedFolder) link(target, name string) {
	w.Helper()
	w.must(errors.Join(os.Symlink(target, w.path(name+".new")), os.Rename(w.path(name+".new"), w.path(name))))
}

func (w watchedFolder) replace(name, contents string) {
	w.Helper()
	w.write(name+".new", contents)
	w.must(os.Rename(w.path(name+".new"), w.path(name)))
}

// tell doesn't outlive the test.
func tell(ctx context.Context, changes chan<- string) func(string) {
	return func(file string) {
		select {
		case changes <- file:
		case <-ctx.Done():
		}
	}
}

// The first step of each row makes what is watched; each further one changes what
// f is, and is to be told.
func TestEveryChangeIsTold(t *testing.T) {
	for name, steps := range map[string][]func(watchedFolder){
		"written in place": {
			func(w watchedFolder) { w.write("f", "1") },
			func(w watchedFolder) { w.write("f", "2") },
			func(w watchedFolder) { w.write("f", "3") },
		},
		"replaced": {
			func(w watchedFolder) { w.write("f", "1") },
			func(w watchedFolder) { w.replace("f", "2") },
			func(w watchedFolder) { w.replace("f", "3") },
		},
		"removed and made": {
			func(w watchedFolder) { w.write("f", "1") },
			func(w watchedFolder) { w.must(os.Remove(w.path("f"))) },
			func(w watchedFolder) { w.write("f", "1") },
		},
		"closed to others": {
			func(w watchedFolder) { w.write("f", "1") },
			func(w watchedFolder) { w.must(os.Chmod(w.path("f"), 0o640)) },
		},
		"a link whose target is edited": {
			func(w watchedFolder) { w.mkdir("elsewhere"); w.write("elsewhere/g", "1"); w.link("elsewhere/g", "f") },
			func(w watchedFolder) { w.write("elsewhere/g", "2") },
			func(w watchedFolder) { w.replace("elsewhere/g", "3") },
		},
		"a link to a link": {
			func(w watchedFolder) {
				w.mkdir("a")
				w.mkdir("b")
				w.write("b/g", "1")
				w.link(w.path("b/g"), "a/g")
				w.link("./a/../a/g", "f")
			},
			func(w watchedFolder) { w.write("b/g", "2") },
			func(w watchedFolder) { w.write("h", "3"); w.link("../h", "a/g") },
			func(w watchedFolder) { w.write("h", "4") },
			func(w watchedFolder) { w.replace("f", "5") },
		},
		"a Kubernetes volume": {
			func(w watchedFolder) {
				w.mkdir("..1")
				w.write("..1/f", "1")
				w.link("..1", "..data")
				w.link("..data/f", "f")
			},
			func(w watchedFolder) { w.mkdir("..2"); w.write("..2/f", "2"); w.link("..2", "..data") },
			func(w watchedFolder) { w.must(os.RemoveAll(w.path("..1"))); w.write("..2/f", "3") },
		},
		"a folder that is a link": {
			func(w watchedFolder) {
				w.mkdir("1")
				w.mkdir("2")
				w.mkdir("2/sub")
				w.mkdir("1/sub")
				w.write("1/sub/g", "1")
				w.write("2/sub/g", "2")
				w.link("1", "current")
				w.link("current/sub/g", "f")
			},
			func(w watchedFolder) { w.link("2", "current") },
			func(w watchedFolder) { w.write("2/sub/g", "3") },
		},
		"a folder that isn't there yet": {
			func(w watchedFolder) { w.link("some/where/g", "f") },
			func(w watchedFolder) { w.mkdir("some"); w.mkdir("some/where"); w.write("some/where/g", "1") },
			func(w watchedFolder) { w.write("some/where/g", "2") },
		},
		"a link to itself": {
			func(w watchedFolder) { w.link("f", "f") },
			func(w watchedFolder) { w.replace("f", "1") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := watchedFolder{t, t.TempDir()}
			steps[0](w)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			changes := make(chan string)
			watch := NewWatch(w.path("f"), w.path("other"))
			watch.poll = time.Hour
			go watch.Run(ctx, tell(ctx, changes))
			for _, step := range steps[1:] {
				step(w)
				if got := <-changes; got != w.path("f") {
					t.Errorf("%s has changed", got)
				}
			}
		})
	}
}

// Where nothing tells of a change, files are compared now and then.
func TestFilesArePolled(t *testing.T) {
	w := watchedFolder{t, t.TempDir()}
	w.write("f", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := NewWatch(w.path("f"))
	w.must(watch.notify.Close())
	watch.notify, watch.poll = nil, time.Millisecond
	changes := make(chan string)
	go watch.Run(ctx, tell(ctx, changes))
	w.write("f", "2")
	if got := <-changes; got != w.path("f") {
		t.Errorf("%s has changed", got)
	}
}
