package hashivault

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pollInterval is how often files are compared without having been told of a
// change: file systems over a network and links into other folders tell nothing.
const pollInterval = 10 * time.Second

// fileWatch tells when files no longer hold what they held when it was made.
type fileWatch struct {
	files  []string
	seen   map[string][sha256.Size]byte
	notify *fsnotify.Watcher // nil where the system has none left to give: the poll remains
}

func newFileWatch(files []string) *fileWatch {
	w := &fileWatch{files: files, seen: map[string][sha256.Size]byte{}}
	if notify, err := fsnotify.NewWatcher(); err == nil {
		w.notify = notify
		for _, f := range files {
			// Folders are watched, not files: a file that is replaced takes its
			// watch with it, and in a Kubernetes volume only a link beside it
			// changes. What can't be watched is polled.
			_ = notify.Add(filepath.Dir(f))
		}
	}
	for _, f := range files {
		w.seen[f] = contents(f)
	}
	return w
}

// run calls changed with the name of each file that has changed. It returns when
// ctx is done.
func (w *fileWatch) run(ctx context.Context, changed func(file string)) {
	var events chan fsnotify.Event
	var failures chan error
	if w.notify != nil {
		defer w.notify.Close()
		events, failures = w.notify.Events, w.notify.Errors
	}
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
		case <-failures:
		case <-poll.C:
		}
		for _, f := range w.files {
			if now := contents(f); now != w.seen[f] {
				w.seen[f] = now
				changed(f)
			}
		}
	}
}

// contents is a digest of what a file holds, or of why it can't be read.
func contents(file string) (sum [sha256.Size]byte) {
	h := sha256.New()
	f, err := os.Open(file)
	if err == nil {
		defer f.Close()
		var info os.FileInfo
		info, err = f.Stat()
		if err == nil {
			io.WriteString(h, info.Mode().String()) // chmod may be what mends it
			_, err = io.Copy(h, io.LimitReader(f, maxFile))
		}
	}
	var path *os.PathError
	if errors.As(err, &path) {
		io.WriteString(h, path.Err.Error())
	}
	return [sha256.Size]byte(h.Sum(nil))
}
