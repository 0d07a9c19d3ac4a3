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
	// pollInterval is how often files are compared without an event, because network
	// file systems send none, and the system may have run out of watches.
	pollInterval = 10 * time.Second
	// settle is the time from an event to the comparison: a program that writes a file in
	// place empties it first.
	settle = 100 * time.Millisecond
	// maxWatched bounds how much of a file is compared, in bytes.
	maxWatched = 1 << 20
	// maxLinks bounds how many links are followed for one file, as Linux does.
	maxLinks = 40
)

// Watch reports when the contents of files change: when a file is written, replaced, made
// or removed, or becomes readable, and when that happens to a link on the way to it or to
// the target of one.
type Watch struct {
	files  []string
	seen   map[string][sha256.Size]byte
	notify *fsnotify.Watcher // nil if the system has no watches left: then files are only polled
	poll   time.Duration
}

// NewWatch begins to watch files: Run reports every change from now on.
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
		case <-failures: // the queue of events has overflowed
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

// follow watches the folders that matter now. It watches folders rather than files, because
// the watch of a file ends when that is replaced. What can't be watched is polled.
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
		_ = w.notify.Add(folder) // even if it is watched: it may have been replaced
	}
}

// folders returns the folders of the file and of all links on the way to it. In a
// Kubernetes volume, only a link in the middle ever changes. If a part of the path doesn't
// exist, the last folder is that in which it is missing.
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

// contents returns a digest of the contents of a file and of who may read it, or of the
// error if it can't be read.
func contents(file string) (sum [sha256.Size]byte) {
	h := sha256.New()
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0) // so that a pipe doesn't block
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
	fmt.Fprintln(h, info.Mode()) // chmod or chown may have made it readable
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		fmt.Fprintln(h, stat.Uid, stat.Gid)
	}
	if info.Mode().IsRegular() {
		_, err = io.Copy(h, io.LimitReader(f, maxWatched+1))
	}
	return err
}
