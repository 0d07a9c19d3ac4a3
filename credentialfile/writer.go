package credentialfile

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"kong-vault-auth/credential"
)

// Writer writes a file of credentials, which NewReader reads.
type Writer struct {
	out    *bufio.Writer
	csv    *csv.Writer // for CSV only
	format Format
	n      int
}

// NewWriter returns a Writer to w, which Close must end.
func NewWriter(w io.Writer, format Format) (*Writer, error) {
	out := &Writer{out: bufio.NewWriter(w), format: format}
	switch format {
	case JSON, Kong:
	case CSV:
		out.csv = csv.NewWriter(out.out)
		return out, out.csv.Write(written())
	default:
		return nil, fmt.Errorf("the format is json, csv or kong, not %.20q", format)
	}
	return out, nil
}

// Write writes a credential, with its secrets as they are in the record.
func (w *Writer) Write(r *credential.Record) error {
	record, err := credential.Encode(r)
	if err != nil {
		return err
	}
	if w.format == CSV {
		return w.csv.Write(cells(record))
	}
	before := ""
	if w.format == Kong {
		before = map[bool]string{true: "{\"data\":[\n", false: ",\n"}[w.n == 0]
	}
	w.n++
	_, _ = w.out.WriteString(before)
	_, err = w.out.Write(record) // a bufio.Writer repeats its first error
	if err == nil && w.format == JSON {
		err = w.out.WriteByte('\n')
	}
	return err
}

// Close ends the file. It doesn't close the underlying writer.
func (w *Writer) Close() error {
	switch w.format {
	case CSV:
		w.csv.Flush()
	case Kong:
		if w.n == 0 {
			_, _ = w.out.WriteString(`{"data":[`)
		}
		_, _ = w.out.WriteString("],\"next\":null}\n")
	}
	return w.out.Flush()
}

// written returns the columns that are written: of the three for a consumer, the two that
// are unambiguous.
func written() []string {
	return slices.DeleteFunc(slices.Clone(columns), func(name string) bool { return name == "consumer" })
}

// cells returns the cells of a record's JSON.
func cells(record []byte) []string {
	var fields map[string]any
	_ = json.Unmarshal(record, &fields) // Encode has written it
	if consumer, ok := fields["consumer"].(map[string]any); ok {
		fields[consumerID], fields[consumerUsername] = consumer["id"], consumer["username"]
	}
	var row []string
	for _, name := range written() {
		row = append(row, cell(fields[name]))
	}
	return row
}

func cell(value any) string {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case []any:
		return list(value)
	case float64:
		return fmt.Sprintf("%.15g", value)
	}
	return fmt.Sprint(value)
}

// list returns a list with commas, or as JSON if that would be read as something else.
func list(values []any) string {
	names := make([]string, len(values))
	for i, value := range values {
		names[i] = fmt.Sprint(value)
	}
	joined := strings.Join(names, ", ")
	if joined == "" || strings.HasPrefix(joined, "[") {
		b, _ := json.Marshal(names)
		return string(b)
	}
	return joined
}
