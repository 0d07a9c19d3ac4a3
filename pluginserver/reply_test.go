package pluginserver

import (
	"bufio"
	"bytes"
	"net"
	"testing"
	"time"
)

// writes counts what is written to it.
type writes struct {
	net.Conn
	n int
}

func (w *writes) Write(p []byte) (int, error) { w.n++; return len(p), nil }

// running is an event in its handler's hands, to whose calls Kong gives these
// replies.
func running(replies ...string) (*Event, *writes) {
	var stream []byte
	for _, reply := range replies {
		stream = appendFrame(stream, reply)
	}
	w := &writes{}
	c := &conn{server: &Server{timeout: time.Hour}, nc: w, r: bufio.NewReader(bytes.NewReader(stream))}
	c.event.c = c
	c.event.begin(nil)
	return &c.event, w
}

func TestAReplyThatIsThereWritesNothing(t *testing.T) {
	e, w := running("", "\x0a\x03a=1")
	headers, query := e.GetHeaders(10), e.GetRawQuery()
	if q, err := query.Wait(); err != nil || q != "a=1" {
		t.Errorf("%q, %v", q, err)
	}
	e.SetRawQuery("")
	if fields, err := headers.Wait(); err != nil || len(fields) != 0 {
		t.Errorf("%q, %v", fields, err)
	}
	if w.n != 1 {
		t.Errorf("%d writes", w.n)
	}
}

func TestHeadersOfTwoRepliesAreKeptApart(t *testing.T) {
	a, b := string(appendHeader(nil, "a", "1")), string(appendHeader(nil, "b", "2"))
	e, _ := running(a, b)
	first, second := e.GetHeaders(10), e.GetHeaders(10)
	one, err := first.Wait()
	if err != nil {
		t.Fatal(err)
	}
	two, err := second.Wait()
	if err != nil || len(one) != 1 || len(two) != 1 || string(one[0].Name) != "a" || string(two[0].Name) != "b" {
		t.Errorf("%q, %q, %v", one, two, err)
	}
}

// A consumer is known by its id; without one there is nobody to name upstream.
func TestAConsumerWithoutAnIDIsNotLoaded(t *testing.T) {
	e, _ := running("\x1a\x05alice")
	if c, err := e.LoadConsumer("alice", true); c != nil || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
}
