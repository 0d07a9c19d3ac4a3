package securefile

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// pollInterval is how often files are compared without having been told of a
	// change: file systems over a network tell nothing, and the system may have no
	// watches left to give.
	pollInterval = 10 * time.Second
	// settle is how long after something has happened files are compared: whoever
	// writes a file in place empties it first.
	settle = 100 * time.Millisecond
	// maxWatched bounds what is compared of a file.
	maxWatched = 1 << 20
	// maxLinks bounds how many links are followed for one file, as Linux does.
	maxLinks = 40
)

// Watch tells when files no longer hold what they held: when they are written,
// replaced, made, removed, or become readable, and when that happens to what a
// link on the way to them leads to, or to the link.
type Watch struct {
	files  []string
	seen   map[string][sha256.Size]byte
	notify *fsnotify.Watcher // nil where the system has none left to give: the poll remains
	poll   time.Duration
}

// NewWatch begins to watch files: Run tells of every change from now on.
func NewWatch(files ...string) *Watch {
	w := &Watch{files: files, seen: map[string][sha256.Size]byte{}, poll: pollInterval}
	if notify, err := fsnotify.NewWatcher(); err == nil {
		w.notify = notify
	}
	w.follow()
	for _, f := range files {
		w.seen[f] = contents(f)
	}
	return w
}

// Run calls changed with the name of each file that has changed. It returns when
// ctx is done; the Watch is then of no further use.
func (w *Watch) Run(ctx context.Context, changed func(file string)) {
	var events chan fsnotify.Event
	var failures chan error
	if w.notify != nil {
		defer w.notify.Close()
		events, failures = w.notify.Events, w.notify.Errors
	}
	poll := time.NewTicker(w.poll)
	defer poll.Stop()
	var settled <-chan time.Time // nil unless something has happened
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			if settled == nil {
				settled = time.After(settle)
			}
			continue
		case <-failures: // the queue of events ran over
		case <-poll.C:
		case <-settled:
			settled = nil
		}
		w.follow()
		for _, f := range w.files {
			if now := contents(f); now != w.seen[f] {
				w.seen[f] = now
				changed(f)
			}
		}
	}
}

// follow watches the folders that matter now. Folders are watched, not files: a
// file that is replaced takes its watch with it. What can't be watched is polled.
func (w *Watch) follow() {
	if w.notify == nil {
		return
	}
	var wanted []string
	for _, f := range w.files {
		wanted = append(wanted, folders(f)...)
	}
	for _, folder := range w.notify.WatchList() {
		if !slices.Contains(wanted, folder) {
			_ = w.notify.Remove(folder)
		}
	}
	for _, folder := range wanted {
		_ = w.notify.Add(folder) // again: another folder may have taken its place
	}
}

// folders are those in which something decides what a file is: the links on the
// way to it, and the file. In a Kubernetes volume, only a link in the middle ever
// changes. Where the way ends early, it is the folder where it does.
func folders(file string) []string {
	abs, err := filepath.Abs(file)
	if err != nil {
		return nil
	}
	var found []string
	at, rest := "/", strings.Split(abs[1:], "/")
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		info, err := os.Lstat(next)
		switch {
		case err != nil || len(rest) == 1 && info.Mode()&fs.ModeSymlink == 0:
			return append(found, at)
		case info.Mode()&fs.ModeSymlink == 0:
			at, rest = next, rest[1:]
			continue
		}
		found = append(found, at)
		target, err := os.Readlink(next)
		if links++; err != nil || links > maxLinks {
			return found
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), rest[1:]...)
	}
	return found
}

// contents is a digest of what a file holds and who may read it, or of why it
// can't be read.
func contents(file string) (sum [sha256.Size]byte) {
	h := sha256.New()
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not be waited for
	if err == nil {
		defer f.Close()
		err = digest(h, f)
	}
	var path *os.PathError
	if errors.As(err, &path) {
		io.WriteString(h, path.Err.Error())
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func digest(h io.Writer, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintln(h, info.Mode()) // chmod or chown may be what was missing
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		fmt.Fprintln(h, stat.Uid, stat.Gid)
	}
	if info.Mode().IsRegular() {
		_, err = io.Copy(h, io.LimitReader(f, maxWatched+1))
	}
	return err
}
