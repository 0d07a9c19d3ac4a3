package securefile

import (
	"errors"
	"io"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Replace writes a file of mode 0600, or puts it in the place of the one of that
// name. Its readers see all of the one or all of the other, also after a crash.
// If write returns an error, or something else goes wrong, nothing has changed.
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
