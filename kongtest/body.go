package kongtest

import (
	"io"
	"os"
)

// body is a request's body, which nginx reads whole the first time that
// somebody asks for it: into memory, or into a file when it is larger than
// client_body_buffer_size.
type body struct {
	r     io.Reader
	limit int
	dir   string

	read    bool
	err     error
	content []byte
	file    string // path of the file that holds the body instead of content
}

func (b *body) load() error {
	if b.read || b.r == nil {
		return b.err
	}
	b.read = true
	b.content, b.err = io.ReadAll(b.r)
	// nginx takes a quarter more than the size where the length is known.
	if b.err != nil || len(b.content) <= b.limit+b.limit/4 {
		return b.err
	}
	f, err := os.CreateTemp(b.dir, "client_body_*")
	if err != nil {
		b.err = err
		return err
	}
	b.file = f.Name()
	_, b.err = f.Write(b.content)
	if err := f.Close(); b.err == nil {
		b.err = err
	}
	return b.err
}

// remove takes the file away, at the end of the request.
func (b *body) remove() {
	if b.file != "" {
		os.Remove(b.file)
	}
}
