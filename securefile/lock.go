package securefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPatience is how long another process may take to write its file.
const lockPatience = 2 * time.Second

// Lock keeps other processes from writing to the folder of a path: at a reload
// two plugin servers share it. Where the file system has no locks there is none,
// and who calls it is not alone.
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
