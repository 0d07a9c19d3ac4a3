package pluginserver

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x03\x00\x00\x00abc\x00\x00\x00\x00"))
	f.Add([]byte("\x03\x00\x00\x00ab"))
	f.Add([]byte("\xff\xff\xff\xffab"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(stream), 16)
		var again []byte
		for {
			content, err := readFrame(r, nil)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errFrameTooLarge) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			again = appendFrame(again, content)
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("frames of %x are written as %x", stream, again)
		}
	})
}

func TestReadFrameAppends(t *testing.T) {
	stream := appendFrame(appendFrame(nil, "ab"), "cd")
	r := bufio.NewReader(bytes.NewReader(stream))
	buf, err := readFrame(r, nil)
	if err == nil {
		buf, err = readFrame(r, buf)
	}
	if err != nil || string(buf) != "abcd" {
		t.Errorf("%q, %v", buf, err)
	}
}

func TestReadFramePassesOverOneThatIsTooLarge(t *testing.T) {
	stream := binary.LittleEndian.AppendUint32(nil, maxFrame+1)
	stream = append(stream, make([]byte, maxFrame+1)...)
	stream = appendFrame(stream, "next")
	r := bufio.NewReader(bytes.NewReader(stream))
	if _, err := readFrame(r, nil); !errors.Is(err, errFrameTooLarge) {
		t.Errorf("got %v", err)
	}
	if next, err := readFrame(r, nil); err != nil || string(next) != "next" {
		t.Errorf("%q, %v", next, err)
	}
}
