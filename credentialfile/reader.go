// Package credentialfile reads and writes files of credentials: lines of JSON, CSV, and
// Kong Enterprise's answers to GET /vault-auth/{vault}/credentials. It reads one credential
// at a time, so files may have any size. From a decK dump it reads consumers.
//
// Errors say where in the file the problem is, and contain none of its values.
package credentialfile

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	"kong-vault-auth/credential"
)

// Format is the form of a file.
type Format string

// The formats.
const (
	JSON Format = "json" // one record in each line
	CSV  Format = "csv"  // a header with the names of the record's fields
	Kong Format = "kong" // Kong Enterprise's answers, one or more pages
)

// Row is a credential of a file.
type Row struct {
	Position string // "line 7"
	Record   *credential.Record
	Err      error // why there is no record
}

// Reader reads the credentials of a file.
type Reader interface {
	// Next returns the next credential. The error is io.EOF at the end, or says why the
	// rest can't be read.
	Next() (Row, error)
}

// maxRow bounds what is read for one credential, in bytes.
const maxRow = 2 * credential.MaxRecord

const byteOrderMark = "\ufeff"

// NewReader returns a reader for a file of this format. If format is empty, it is
// recognized from the beginning of the file.
func NewReader(r io.Reader, format Format) (Reader, error) {
	in := bufio.NewReaderSize(r, maxRow)
	start, err := in.Peek(peeked)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if bytes.HasPrefix(start, []byte(byteOrderMark)) {
		_, _ = in.Discard(len(byteOrderMark))
		start = start[len(byteOrderMark):]
	}
	if format == "" {
		if format, err = formatOf(start); err != nil {
			return nil, err
		}
	}
	switch format {
	case JSON:
		return &lines{in: in}, nil
	case CSV:
		return newCSV(in)
	case Kong:
		return newAnswers(in), nil
	}
	return nil, fmt.Errorf("the format is json, csv or kong, not %.20q", format)
}

// peeked is how much of a file is read to recognize its format.
const peeked = 4 << 10

var (
	isAnswer = regexp.MustCompile(`^\s*\{\s*"(data|next|offset)"\s*:`)
	isJSON   = regexp.MustCompile(`^\s*(\{|$)`)
	isCSV    = regexp.MustCompile(`^[^\n]*\baccess_token\b`)
	isDeck   = regexp.MustCompile(`(?m)^\W*_format_version\b`)
)

func formatOf(start []byte) (Format, error) {
	switch {
	case isDeck.Match(start):
		return "", errors.New("it is a decK dump, which holds no credentials of vault-auth: they are in the vault only. It can name the consumers: --consumers")
	case isAnswer.Match(start):
		return Kong, nil
	case isJSON.Match(start):
		return JSON, nil
	case isCSV.Match(start):
		return CSV, nil
	}
	return "", errors.New("it is neither lines of JSON, nor CSV with a header that names access_token, nor Kong's answers (name the format with --format)")
}

// row parses a record's JSON.
func row(position string, record []byte) Row {
	r, err := credential.Parse(record)
	return Row{position, r, err}
}

// lines reads one record from each line.
type lines struct {
	in *bufio.Reader
	n  int
}

var errLongLine = fmt.Errorf("it is longer than %d bytes (write one record a line)", maxRow)

// Next implements Reader.
func (l *lines) Next() (Row, error) {
	for {
		line, err := l.in.ReadSlice('\n')
		if err == io.EOF && len(line) > 0 {
			err = nil
		}
		l.n++
		position := fmt.Sprintf("line %d", l.n)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return Row{Position: position, Err: errLongLine}, l.skip()
		case err != nil:
			return Row{}, err
		case len(bytes.TrimSpace(line)) > 0:
			return row(position, line), nil
		}
	}
}

// skip reads to the end of the line.
func (l *lines) skip() error {
	for {
		_, err := l.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil // the next call of Next returns it
		default:
			return err
		}
	}
}

// bounded is a reader that returns an error when left is used up.
type bounded struct {
	in   io.Reader
	left int
}

var errTooLarge = fmt.Errorf("one credential takes more than %d bytes, so the rest can't be read", maxRow)

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errTooLarge
	}
	n, err := b.in.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
