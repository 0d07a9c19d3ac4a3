package snapshot

import (
	"bytes"
	"encoding/base64"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
)

var now = time.Unix(1_750_000_000, 0).UTC()

// newFile is a snapshot to be, with a key.
func newFile(t testing.TB) File {
	f := File{Path: filepath.Join(t.TempDir(), "snapshot"), KeyFile: filepath.Join(t.TempDir(), "key"), Store: "store"}
	write(t, f.KeyFile, []byte(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))+"\n"), 0o600)
	return f
}

func write(t testing.TB, name string, content []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(name, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

var aHeader = Header{Started: now.Add(-time.Minute), Written: now, SealerKey: []byte("key of digests")}

func someRecords(n int) (records []Record) {
	sealer := credential.NewSealer()
	for i := range n {
		access := fmt.Sprint("access-", i)
		c := sealer.Seal("store", &credential.Record{
			AccessToken: access, Secret: credential.Secret{Token: "secret"}, Consumer: credential.Consumer{Username: "alice"},
			TTL: time.Minute, ExpiresAt: now.Add(time.Hour), Previous: credential.Secret{Token: "old"}, PreviousExpiresAt: now.Add(time.Minute),
		})
		records = append(records, Record{Key: strings.ToUpper(access), Name: access, ReadAt: now.Add(-time.Second), Credential: c.Stored()})
	}
	return records
}

func (f File) records(t *testing.T) (Header, []Record, error) {
	t.Helper()
	var got []Record
	h, err := f.Read(now, func(r Record) { got = append(got, r) })
	return h, got, err
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for _, n := range []int{0, 1, 3000} { // the last in several segments
		f, want := newFile(t), someRecords(n)
		// Nothing of a record is left in the next one, which has other fields.
		want = append(want, Record{Name: "secret", Secret: &Secret{Value: "s"}}, Record{Name: "another", Secret: &Secret{Store: "t"}}, Record{Name: "last"})
		if err := f.Write(aHeader, slices.Values(want)); err != nil {
			t.Fatal(err)
		}
		h, got, err := f.records(t)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(aHeader, h); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		info, err := os.Stat(f.Path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		sealed, err := os.ReadFile(f.Path)
		if err != nil || bytes.Contains(sealed, []byte("access")) || bytes.Contains(sealed, []byte("alice")) {
			t.Errorf("it is legible, %v", err)
		}
	}
}

func TestWhatCannotBeTrustedIsNotRead(t *testing.T) {
	change := func(change func([]byte) []byte) func(*testing.T, *File) {
		return func(t *testing.T, f *File) {
			b, err := os.ReadFile(f.Path)
			if err != nil {
				t.Fatal(err)
			}
			write(t, f.Path, change(b), 0o600)
		}
	}
	tests := map[string]struct {
		do   func(*testing.T, *File)
		want string // in the error
	}{
		"no file":              {func(t *testing.T, f *File) { os.Remove(f.Path) }, ErrNone.Error()},
		"another key":          {func(t *testing.T, f *File) { write(t, f.KeyFile, []byte(strings.Repeat("02", 32)), 0o600) }, ErrSealed.Error()},
		"another store":        {func(t *testing.T, f *File) { f.Store = "other" }, ErrSealed.Error()},
		"empty":                {change(func(b []byte) []byte { return nil }), ErrSealed.Error()},
		"first byte changed":   {change(func(b []byte) []byte { b[0]++; return b }), ErrSealed.Error()},
		"middle changed":       {change(func(b []byte) []byte { b[len(b)/2]++; return b }), ErrSealed.Error()},
		"last byte changed":    {change(func(b []byte) []byte { b[len(b)-1]++; return b }), ErrSealed.Error()},
		"cut off":              {change(func(b []byte) []byte { return b[:len(b)-1] }), ErrSealed.Error()},
		"cut off at a segment": {change(func(b []byte) []byte { return b[:2*segment] }), ErrSealed.Error()},
		"longer":               {change(func(b []byte) []byte { return append(b, 0) }), ErrSealed.Error()},
		// Its reader wouldn't know whom to refuse, and from where.
		"of the format before": {func(t *testing.T, f *File) {
			aead, err := f.aead()
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			sealed, err := aead.NewEncryptingWriter(&out, []byte("vault-auth snapshot 1\n"+f.Store))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(gob.NewEncoder(sealed).Encode(aHeader), sealed.Close()); err != nil {
				t.Fatal(err)
			}
			write(t, f.Path, out.Bytes(), 0o600)
		}, ErrSealed.Error()},
		"from the future":    {func(t *testing.T, f *File) { rewrite(t, *f, now.Add(time.Second)) }, ErrFuture.Error()},
		"legible for others": {func(t *testing.T, f *File) { os.Chmod(f.Path, 0o644) }, "chmod 0640 "},
		"a key that others can read": {func(t *testing.T, f *File) {
			os.Chmod(f.KeyFile, 0o644)
		}, "chmod 0640 "},
		"no key":          {func(t *testing.T, f *File) { os.Remove(f.KeyFile) }, "no such file"},
		"a key too short": {func(t *testing.T, f *File) { write(t, f.KeyFile, []byte(strings.Repeat("02", 31)), 0o600) }, "openssl rand -base64 32"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFile(t)
			if err := f.Write(aHeader, slices.Values(someRecords(3000))); err != nil {
				t.Fatal(err)
			}
			test.do(t, &f)
			_, got, err := f.records(t)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if len(got) > 0 {
				t.Errorf("%d records were read", len(got))
			}
		})
	}
}

func rewrite(t *testing.T, f File, written time.Time) {
	t.Helper()
	h := aHeader
	h.Written = written
	if err := f.Write(h, slices.Values(someRecords(1))); err != nil {
		t.Fatal(err)
	}
}

func TestTheProcessThatStartedLastKeepsTheFile(t *testing.T) {
	older := Header{Started: now.Add(-time.Hour), Written: now}
	younger := Header{Started: now.Add(-time.Minute), Written: now}
	tests := map[string]struct {
		first, second Header
		want          error
	}{
		"over its own":               {older, older, nil},
		"the younger over the older": {older, younger, nil},
		"the older over the younger": {younger, older, ErrSuperseded},
		"over one that was started before its clock was set back": {Header{Started: now.Add(time.Hour), Written: now.Add(-time.Second)}, older, nil},
		"over one of a clock set back":                            {Header{Started: now.Add(time.Hour), Written: now.Add(time.Hour)}, older, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFile(t)
			first, second := someRecords(1), someRecords(2)
			if err := f.Write(test.first, slices.Values(first)); err != nil {
				t.Fatal(err)
			}
			want := second
			if test.want != nil {
				want = first
			}
			if err := f.Write(test.second, slices.Values(second)); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if _, got, err := f.records(t); err != nil || len(got) != len(want) {
				t.Errorf("then it holds %d records, want %d; %v", len(got), len(want), err)
			}
		})
	}
}

func TestAFileThatCannotBeReadIsReplaced(t *testing.T) {
	f := newFile(t)
	write(t, f.Path, []byte("something else"), 0o644)
	if err := f.Write(aHeader, slices.Values(someRecords(1))); err != nil {
		t.Fatal(err)
	}
	if _, got, err := f.records(t); err != nil || len(got) != 1 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func TestNothingIsWrittenWithoutAKey(t *testing.T) {
	f := newFile(t)
	if err := os.Remove(f.KeyFile); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(aHeader, slices.Values(someRecords(1))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(f.Path)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func BenchmarkSnapshot(b *testing.B) {
	records := someRecords(100_000)
	f := newFile(b)
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			if err := f.Write(aHeader, slices.Values(records)); err != nil {
				b.Fatal(err)
			}
		}
		info, err := os.Stat(f.Path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/float64(len(records)), "bytes/record")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			n := 0
			if _, err := f.Read(now, func(Record) { n++ }); err != nil || n != len(records) {
				b.Fatal(n, err)
			}
		}
	})
}

func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	f := newFile(t)
	for _, name := range []string{".snapshot123456789", ".snapshot", ".snapshot.bak1", ".other1"} {
		write(t, filepath.Join(filepath.Dir(f.Path), name), nil, 0o600)
	}
	if err := f.Write(aHeader, slices.Values(someRecords(1))); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(f.Path))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range left {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff([]string{".other1", ".snapshot", ".snapshot.bak1", "snapshot"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestFilterLeavesWhatIsToBeKept(t *testing.T) {
	f, all := newFile(t), someRecords(3)
	if err := f.Filter(now, now, func(Record) bool { return false }); err != nil {
		t.Errorf("without a file: %v", err)
	}
	if err := f.Write(aHeader, slices.Values(all)); err != nil {
		t.Fatal(err)
	}
	if err := f.Filter(now.Add(time.Second), now, func(r Record) bool { return r.Name != "access-1" }); err != nil {
		t.Fatal(err)
	}
	h, err := f.Read(now.Add(time.Second), func(r Record) {
		if r.Name == "access-1" {
			t.Error("it is still there")
		}
	})
	want := Header{Started: now, Written: now.Add(time.Second), SealerKey: aHeader.SealerKey}
	if diff := cmp.Diff(want, h); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestFilterChangesNothingWithoutNeed(t *testing.T) {
	f := newFile(t)
	if err := f.Write(aHeader, slices.Values(someRecords(3))); err != nil {
		t.Fatal(err)
	}
	if err := f.Filter(now, now, func(Record) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if h, _, err := f.records(t); err != nil || !h.Started.Equal(aHeader.Started) {
		t.Errorf("%v, %v", h, err)
	}
}

func TestFilterSaysWhatItCouldNotRead(t *testing.T) {
	f := newFile(t)
	if err := f.Write(aHeader, slices.Values(someRecords(3))); err != nil {
		t.Fatal(err)
	}
	write(t, f.Path, []byte("spoiled"), 0o600)
	if err := f.Filter(now, now, func(Record) bool { return true }); !errors.Is(err, ErrSealed) {
		t.Errorf("%v", err)
	}
}
