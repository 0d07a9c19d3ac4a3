package securefile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// Replace writes a file of mode 0600, and replaces the one of that name if there is one.
// Its readers see all of the old file or all of the new one, even after a crash. If
// Replace returns an error, also one of write, nothing has changed.
func Replace(name string, write func(io.Writer) error) error {
	f, err := renameio.NewPendingFile(name, renameio.WithTempDir(filepath.Dir(name)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		return errors.Join(err, f.Cleanup())
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return errors.Join(err, f.Cleanup())
	}
	return nil
}

// lockPatience is how long another process may take to write its file.
const lockPatience = 2 * time.Second

// Lock keeps other processes that call it from writing to the folder of a path, since at
// a reload two plugin servers share it. alone is false if the file system has no locks:
// other processes may then write too.
func Lock(path string) (unlock func(), alone bool, err error) {
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, false, err
	}
	for deadline := time.Now().Add(lockPatience); ; {
		err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return func() { folder.Close() }, err == nil, nil
		}
		if time.Now().After(deadline) {
			folder.Close()
			return nil, false, fmt.Errorf("another process has locked %s for more than %s", folder.Name(), lockPatience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
