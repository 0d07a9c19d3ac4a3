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
	"strings"
	"syscall"
	"time"

	"kong-vault-auth/securefile"
)

// format begins the file; after it comes the signature of all that follows the line.
const format = "vault-auth blocks 1 "

// maxFile bounds the file, in bytes: some 4,000 entries.
const maxFile = 1 << 20

var errSignature = errors.New("it is not signed with this node's key, or was changed")

// encode is the file's contents.
func (k *Keys) encode(entries []Entry) ([]byte, error) {
	slices.SortFunc(entries, func(a, b Entry) int {
		return strings.Compare(string(a.Kind)+" "+a.Value, string(b.Kind)+" "+b.Value)
	})
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

func (k *Keys) signature(body []byte) []byte {
	mac := k.sign()
	mac.Write([]byte(format))
	mac.Write(body)
	return mac.Sum(nil)
}

// decode reads the file's contents, if all of it is genuine.
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
			return nil, errors.New("an entry can't be read (is it of another version?)")
		}
		if err := e.Check(now); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(entries)+1, err)
		}
		entries = append(entries, e)
	}
}

// read reads the file. Where there is none it holds nothing, and there is false.
func (k *Keys) read(path string, now time.Time) (entries []Entry, there bool, err error) {
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

// write puts entries in the place of what the file holds. The file belongs to whom its
// folder belongs, so that root can write it for the plugin server.
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
