package credentialfile

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// columns are the columns that a file may have: the record's fields, and two more for the
// consumer.
var columns = []string{
	"access_token", "secret_token", "secret_token_hash",
	"previous_secret_token", "previous_secret_token_hash", "previous_expires_at",
	"consumer", consumerID, consumerUsername, "ttl", "enabled", "not_before", "expires_at", "allowed_ips", "groups",
	"description", "created_by", "created_at", "updated_at",
}

// The columns of a consumer's id and username, which could be mistaken for one another in
// the column consumer.
const (
	consumerID       = "consumer_id"
	consumerUsername = "consumer_username"
)

// table reads CSV. An empty cell is a missing field.
type table struct {
	in     *bounded
	csv    *csv.Reader
	header []string
}

func newCSV(in *bufio.Reader) (Reader, error) {
	start, _ := in.Peek(peeked)
	first, _, _ := bytes.Cut(start, []byte("\n"))
	b := &bounded{in: in, left: maxRow}
	t := &table{in: b, csv: csv.NewReader(b)}
	if bytes.ContainsRune(first, ';') && !bytes.ContainsRune(first, ',') {
		t.csv.Comma = ';' // as spreadsheets write it in countries with a decimal comma
	}
	header, err := t.csv.Read()
	if err != nil {
		return nil, fmt.Errorf("the header can't be read (%s)", problemOf(err))
	}
	t.header = header
	for i, name := range header {
		name = strings.TrimSpace(name)
		header[i] = name
		switch {
		case !slices.Contains(columns, name):
			return nil, fmt.Errorf("column %d of the header is not one of %s", i+1, strings.Join(columns, ", "))
		case slices.Contains(header[:i], name):
			return nil, fmt.Errorf("the header names %s twice", name)
		}
	}
	return t, nil
}

// Next implements Reader.
func (t *table) Next() (Row, error) {
	t.in.left = maxRow
	cells, err := t.csv.Read()
	var wrong *csv.ParseError
	switch {
	case errors.As(err, &wrong):
		return Row{Position: fmt.Sprintf("line %d", wrong.StartLine), Err: errors.New(problemOf(err))}, nil
	case err != nil:
		return Row{}, err
	}
	line, _ := t.csv.FieldPos(0)
	return row(fmt.Sprintf("line %d", line), t.record(cells)), nil
}

// record returns a row as the JSON of a record.
func (t *table) record(cells []string) []byte {
	fields := map[string]any{}
	for i, cell := range cells {
		if cell == "" {
			continue
		}
		switch name := t.header[i]; name {
		case consumerID:
			fields["consumer"] = map[string]string{"id": cell}
		case consumerUsername:
			if fields["consumer"] == nil {
				fields["consumer"] = map[string]string{"username": cell}
			}
		default:
			fields[name] = cell
		}
	}
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err) // impossible for strings
	}
	return b
}

// problemOf says what is wrong with the CSV, without quoting any of it.
func problemOf(err error) string {
	var wrong *csv.ParseError
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		return "it doesn't have as many cells as the header"
	case errors.As(err, &wrong):
		return "it is not valid CSV: " + wrong.Err.Error()
	case errors.Is(err, io.EOF):
		return "it is empty"
	}
	return err.Error()
}
