// Package securefile reads files that decide who may pass: tokens, keys,
// definitions of vault objects. It refuses what somebody else could have
// written, or could have read where it holds a secret. And it writes such files
// so that nobody else can read them, nor anybody half of one.
package securefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Readers says who besides root and this process's user may read a file. Its
// writers are always these two, but for Sealed.
type Readers int

const (
	Anybody Readers = iota // a certificate; a service account token, which the kubelet writes world-readable
	Group                  // a secret: this process's groups too, which is what fsGroup makes of a Kubernetes volume
	Sealed                 // as Group, which may write too: the contents prove that they are genuine
)

// Error is a file that can't be used, and what to do about it.
type Error struct {
	Err    error
	Remedy string
}

// Error is the cause and the remedy.
func (e *Error) Error() string { return e.Err.Error() + " (" + e.Remedy + ")" }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Read reads a file of at most max bytes. It may belong to this process's user
// or to root: root may anything, and a Kubernetes volume is root's. The error
// is an *Error, which names the file.
func Read(name string, readers Readers, max int) ([]byte, error) {
	f, err := Open(name, readers)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(max)+1))
	switch {
	case err != nil:
		return nil, &Error{err, "check that it is a plain file"}
	case len(b) > max:
		return nil, &Error{fmt.Errorf("%s is larger than %d bytes", name, max), "name the right file"}
	}
	return b, nil
}

// Open is Read for a file that is too large to be held in memory. Whoever calls
// it closes the file.
func Open(name string, readers Readers) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not be waited for
	if err != nil {
		remedy := "check that Kong's user may read it"
		if errors.Is(err, fs.ErrNotExist) {
			remedy = "it is read as soon as it is there"
		}
		return nil, &Error{err, remedy}
	}
	if err := check(f, readers); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// check looks at the open file, so that it can't be replaced in between.
func check(f *os.File, readers Readers) error {
	info, err := f.Stat()
	if err != nil {
		return &Error{err, "check that Kong's user may read it"}
	}
	if !info.Mode().IsRegular() {
		return &Error{fmt.Errorf("%s is not a plain file", f.Name()), "name the right file"}
	}
	groups, err := os.Getgroups()
	if err != nil {
		return &Error{err, "check that Kong's user may ask for its groups"}
	}
	us := Process{User: os.Geteuid(), Groups: append(groups, os.Getegid())}
	a := Attributes{Name: f.Name(), Mode: info.Mode(), Owner: us.User, Group: os.Getegid()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		a.Owner, a.Group = int(stat.Uid), int(stat.Gid)
	}
	var volume syscall.Statfs_t
	const readOnly = 1 // ST_RDONLY
	a.ReadOnly = syscall.Fstatfs(int(f.Fd()), &volume) == nil && volume.Flags&readOnly != 0
	return us.Allow(a, readers)
}

// Attributes is what decides about the use of a file.
type Attributes struct {
	Name         string
	Mode         fs.FileMode
	Owner, Group int
	ReadOnly     bool // its file system is mounted so: chmod has no effect, which is as in Kubernetes
}

// Process is who wants to use it.
type Process struct {
	User   int
	Groups []int
}

// injectorUser is the user as which the Vault Agent Injector runs its agents.
const injectorUser = 100

// Allow says whether the process may use the file, by its error, which is an
// *Error.
func (p Process) Allow(a Attributes, readers Readers) error {
	if a.Owner != p.User && a.Owner != 0 {
		return &Error{fmt.Errorf("%s belongs to user %d, who could put other contents in it", a.Name, a.Owner), p.giveRemedy(a)}
	}
	if readers != Anybody && a.Mode&0o070 != 0 && a.Group != 0 && !slices.Contains(p.Groups, a.Group) {
		return &Error{
			fmt.Errorf("%s is open to group %d, which this process isn't in", a.Name, a.Group),
			closeRemedy(a, a.Mode.Perm()&^0o077),
		}
	}
	tooMuch := map[Readers]fs.FileMode{Anybody: 0o022, Group: 0o027, Sealed: 0o007}[readers]
	if mode := a.Mode.Perm(); mode&tooMuch != 0 {
		return &Error{fmt.Errorf("%s has mode %04o, too open for what it holds", a.Name, mode), closeRemedy(a, mode&^tooMuch)}
	}
	return nil
}

// giveRemedy is how a file gets another owner, where it lies.
func (p Process) giveRemedy(a Attributes) string {
	if a.Owner == injectorUser {
		return `if the Vault Agent Injector wrote it: annotate the pod with vault.hashicorp.com/agent-run-as-same-user: "true"; ` +
			fmt.Sprintf("else chown %d %s", p.User, a.Name)
	}
	return fmt.Sprintf("chown %d %s", p.User, a.Name)
}

// closeRemedy is how a file gets a mode, where it lies.
func closeRemedy(a Attributes, mode fs.FileMode) string {
	switch volume := mode & 0o440; {
	case strings.HasPrefix(a.Name, "/vault/secrets/"):
		return fmt.Sprintf(`annotate the pod with vault.hashicorp.com/agent-inject-perms-%s: "%04o"`, filepath.Base(a.Name), mode)
	case a.ReadOnly:
		return fmt.Sprintf(`set defaultMode: %04o on a Kubernetes volume, or filePermission: "%04o" in the SecretProviderClass of a Secrets Store CSI volume, `+
			"and the pod's fsGroup, or supplementalGroups: [0] where the CSI driver ignores that", volume, volume)
	default:
		return fmt.Sprintf("chmod %04o %s, or set defaultMode: %04o on a Kubernetes volume", mode, a.Name, volume)
	}
}
