package blocklist

import (
	"bytes"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"kong-vault-auth/securefile"
)

// The variables of the environment that set blocks up.
const (
	FileVariable = "VAULT_AUTH_BLOCKS_FILE"     // where the list is kept
	KeyVariable  = "VAULT_AUTH_EVENTS_KEY_FILE" // the key that the nodes of a fleet share
)

// CheckSettings checks the variables. It reads no file.
func CheckSettings(getenv func(string) string) error {
	file, key := getenv(FileVariable), getenv(KeyVariable)
	switch {
	case file == "":
		return nil
	case !filepath.IsAbs(file):
		return fmt.Errorf("%s: it must be the whole path of a file, not %.100q", FileVariable, file)
	case key == "":
		return fmt.Errorf("%s: it is needed with %s: name a file with a key (openssl rand -base64 32)", KeyVariable, FileVariable)
	}
	return nil
}

// The file begins with format and the signature of everything after this first line.
const format = "vault-auth blocks 1 "

// maxFile bounds the file, in bytes: some 4,000 entries.
const maxFile = 1 << 20

var errSignature = errors.New("it is not signed with this node's key, or was changed")

// encode is the file's contents.
func (k *Keys) encode(entries []Entry) ([]byte, error) {
	slices.SortFunc(entries, byTarget)
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	for _, entry := range entries {
		if err := e.Encode(entry); err != nil {
			return nil, err
		}
	}
	b := append([]byte(format+hex.EncodeToString(k.signature(body.Bytes()))+"\n"), body.Bytes()...)
	if len(b) > maxFile {
		return nil, fmt.Errorf("there are too many blocks, %d: lift some, or block consumers", len(entries))
	}
	return b, nil
}

// decode decodes the file's contents. If any of it isn't genuine, it returns an error
// and no entries.
func (k *Keys) decode(b []byte, now time.Time) (entries []Entry, err error) {
	line, body, _ := bytes.Cut(b, []byte("\n"))
	signed, ok := bytes.CutPrefix(line, []byte(format))
	signature, err := hex.DecodeString(string(signed))
	if !ok || err != nil || !hmac.Equal(signature, k.signature(body)) {
		return nil, errSignature
	}
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		var e Entry
		switch err := d.Decode(&e); {
		case err == io.EOF:
			return entries, nil
		case err != nil:
			return nil, errors.New("an entry can't be read (was it written by another version?)")
		}
		if err := e.Check(now); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(entries)+1, err)
		}
		entries = append(entries, e)
	}
}

// read reads the file. exists is false if there is none.
func (k *Keys) read(path string, now time.Time) (entries []Entry, exists bool, err error) {
	b, err := securefile.Read(path, securefile.Group, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, true, err
	}
	if entries, err = k.decode(b, now); err != nil {
		return nil, true, fmt.Errorf("%s: %w", path, err)
	}
	return entries, true, nil
}

// write replaces the contents of the file. It gives the file to its folder's owner, so
// that root can write it for the plugin server.
func (k *Keys) write(path string, entries []Entry) error {
	b, err := k.encode(entries)
	if err != nil {
		return err
	}
	err = securefile.Replace(path, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	owner, ok := folder.Sys().(*syscall.Stat_t)
	if !ok || owner.Uid == 0 {
		return nil
	}
	return os.Chown(path, int(owner.Uid), int(owner.Gid))
}
