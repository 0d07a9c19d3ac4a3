// Package securefile reads, writes and watches files that decide who may pass: tokens,
// keys, definitions of vault objects. It refuses a file that somebody else could have
// written or, if it holds a secret, read. It writes files so that nobody else can read
// them, and nobody can read a half-written one.
package securefile

import (
	"encoding/base64"
	"encoding/hex"
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

// Readers says who besides root and this process's user may read a file. Only these two
// may write it, except with Sealed.
type Readers int

const (
	Anybody Readers = iota // a certificate; a service account token, which the kubelet writes world-readable
	Group                  // a secret: this process's groups too, since fsGroup gives them a Kubernetes volume
	Sealed                 // this process's groups may read and write it: the contents prove that they are genuine
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

// Read reads a file of at most max bytes. The file must belong to this process's user or
// to root, who may do anything and owns a Kubernetes volume. The error is an *Error, which
// names the file.
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

// Open is Read for a file that is too large to be held in memory. The caller closes it.
func Open(name string, readers Readers) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // so that a pipe doesn't block
	if err != nil {
		remedy := makeReadable()
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

// makeReadable is the remedy for a file that can't be opened. The user is the plugin
// server's, or whoever runs a command.
func makeReadable() string {
	return fmt.Sprintf("check that user %d, who runs this program, may read it", os.Geteuid())
}

// keyLen is the length of a key in bytes.
const keyLen = 32

const maxKeyFile = 1024 // bytes

// ReadKey reads a file that holds a key of 32 bytes, in base64 or hex, with or without
// a line end. It is a secret, see [Group].
func ReadKey(name string) ([]byte, error) {
	b, err := Read(name, Group, maxKeyFile)
	if err != nil {
		return nil, err
	}
	text := strings.TrimSpace(string(b))
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == keyLen {
			return key, nil
		}
	}
	return nil, &Error{fmt.Errorf("%s holds no key of %d bytes in base64 or hex", name, keyLen), "openssl rand -base64 32 makes one"}
}

// check looks at the open file, so that it can't be replaced in between.
func check(f *os.File, readers Readers) error {
	info, err := f.Stat()
	if err != nil {
		return &Error{err, makeReadable()}
	}
	if !info.Mode().IsRegular() {
		return &Error{fmt.Errorf("%s is not a plain file", f.Name()), "name the right file"}
	}
	groups, err := os.Getgroups()
	if err != nil {
		return &Error{err, "check that Kong's user may ask for its groups"}
	}
	us := process{user: os.Geteuid(), groups: append(groups, os.Getegid())}
	a := attributes{name: f.Name(), mode: info.Mode(), owner: us.user, group: os.Getegid()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		a.owner, a.group = int(stat.Uid), int(stat.Gid)
	}
	var volume syscall.Statfs_t
	const readOnly = 1 // ST_RDONLY
	a.readOnly = syscall.Fstatfs(int(f.Fd()), &volume) == nil && volume.Flags&readOnly != 0
	return us.allow(a, readers)
}

// attributes decide whether a file may be used.
type attributes struct {
	name         string
	mode         fs.FileMode
	owner, group int
	readOnly     bool // mounted read-only, as in Kubernetes: chmod has no effect
}

// process is the process that wants to use it.
type process struct {
	user   int
	groups []int
}

// injectorUser is the user as which the Vault Agent Injector runs its agents.
const injectorUser = 100

// allow returns nil if the process may use the file, or an *Error.
func (p process) allow(a attributes, readers Readers) error {
	if a.owner != p.user && a.owner != 0 {
		return &Error{fmt.Errorf("%s belongs to user %d, who could put other contents in it", a.name, a.owner), p.giveRemedy(a)}
	}
	if readers != Anybody && a.mode&0o070 != 0 && a.group != 0 && !slices.Contains(p.groups, a.group) {
		return &Error{
			fmt.Errorf("%s is open to group %d, which this process isn't in", a.name, a.group),
			closeRemedy(a, a.mode.Perm()&^0o077),
		}
	}
	tooMuch := map[Readers]fs.FileMode{Anybody: 0o022, Group: 0o027, Sealed: 0o007}[readers]
	if mode := a.mode.Perm(); mode&tooMuch != 0 {
		return &Error{fmt.Errorf("%s has mode %04o, too open for what it holds", a.name, mode), closeRemedy(a, mode&^tooMuch)}
	}
	return nil
}

// giveRemedy says how to give a file another owner, which depends on where it lies.
func (p process) giveRemedy(a attributes) string {
	if a.owner == injectorUser {
		return `if the Vault Agent Injector wrote it: annotate the pod with vault.hashicorp.com/agent-run-as-same-user: "true"; ` +
			fmt.Sprintf("else chown %d %s", p.user, a.name)
	}
	return fmt.Sprintf("chown %d %s", p.user, a.name)
}

// closeRemedy says how to give a file a mode, which depends on where it lies.
func closeRemedy(a attributes, mode fs.FileMode) string {
	switch volume := mode & 0o440; {
	case strings.HasPrefix(a.name, "/vault/secrets/"):
		return fmt.Sprintf(`annotate the pod with vault.hashicorp.com/agent-inject-perms-%s: "%04o"`, filepath.Base(a.name), mode)
	case a.readOnly:
		return fmt.Sprintf(`set defaultMode: %04o on a Kubernetes volume, or filePermission: "%04o" in the SecretProviderClass of a Secrets Store CSI volume, `+
			"and the pod's fsGroup, or supplementalGroups: [0] where the CSI driver ignores that", volume, volume)
	default:
		return fmt.Sprintf("chmod %04o %s, or set defaultMode: %04o on a Kubernetes volume", mode, a.name, volume)
	}
}
