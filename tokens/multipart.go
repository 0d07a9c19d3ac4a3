package tokens

import (
	"bufio"
	"bytes"
	"mime"
	"net/textproto"
	"strings"
)

var crlf = []byte("\r\n")

// multipartFields reads the parts of a multipart/form-data body (RFC 7578,
// RFC 2046 section 5.1). A part's field begins with its delimiter and ends
// where the next one begins, so that parts need no separator.
//
// Programs differ in how they read what the RFCs forbid: lines that end in a
// bare LF, lines that only begin with a delimiter, a body without its end. All
// of that is malformed here, since cutting a body that the upstream reads
// differently could damage it.
func multipartFields(body []byte, boundary string) ([]field, error) {
	dashes := []byte("--" + boundary)
	current, ok := nextDelimiter(body, dashes, 0)
	if !ok {
		return nil, ReasonMalformed
	}
	var fields []field
	for !current.closing {
		if len(fields) == MaxFields {
			return nil, ReasonFields
		}
		next, ok := nextDelimiter(body, dashes, current.end)
		if !ok {
			return nil, ReasonMalformed
		}
		part, ok := readPart(body[current.end:next.start])
		if !ok {
			return nil, ReasonMalformed
		}
		part.start, part.end = current.start, next.start
		fields = append(fields, part)
		current = next
	}
	return fields, nil
}

// delimiter is a line of two dashes and the boundary. The line break before it
// is its own by the RFC, but not part of start..end here: a part that is cut
// out leaves it to the delimiter that follows.
type delimiter struct {
	start, end int
	closing    bool
}

// nextDelimiter finds the first line from an offset on that begins with the
// dashes and the boundary. It isn't ok when there is none, or none of proper
// form.
func nextDelimiter(body, dashes []byte, from int) (d delimiter, ok bool) {
	for {
		i := bytes.Index(body[from:], dashes)
		if i < 0 {
			return delimiter{}, false
		}
		d.start = from + i
		if d.start == 0 || body[d.start-1] == '\n' {
			break
		}
		from = d.start + len(dashes)
	}
	if d.start > 0 && !bytes.HasSuffix(body[:d.start], crlf) {
		return delimiter{}, false
	}
	rest, closing := bytes.CutPrefix(body[d.start+len(dashes):], []byte("--"))
	d.closing = closing
	rest = bytes.TrimLeft(rest, " \t")
	rest, broken := bytes.CutPrefix(rest, crlf)
	d.end = len(body) - len(rest)
	return d, broken || closing && len(rest) == 0
}

// readPart reads what lies between two delimiter lines: headers, an empty
// line, content, and the line break of the second delimiter. A part without
// content may share that line break with the empty line. It isn't ok when the
// headers can't be told from the content.
func readPart(part []byte) (f field, ok bool) {
	if bytes.HasPrefix(part, crlf) {
		return field{}, true // no headers, so no name
	}
	headers, content, ok := bytes.Cut(part, []byte("\r\n\r\n"))
	if !ok || bytes.Count(headers, []byte("\n")) != bytes.Count(headers, crlf) {
		return field{}, false
	}
	headers = part[:len(headers)+2*len(crlf)]
	content = bytes.TrimSuffix(content, crlf)
	reader := textproto.NewReader(bufio.NewReaderSize(bytes.NewReader(headers), len(headers)))
	header, err := reader.ReadMIMEHeader()
	if err != nil {
		return field{}, false
	}
	f.name = fieldName(header)
	if f.name != "" && isPlain(header.Get("Content-Transfer-Encoding")) {
		f.value = string(content)
	}
	return f, true
}

// fieldName is the name that a part's headers give it, or empty if they give
// none, or if the part is a file.
func fieldName(header textproto.MIMEHeader) string {
	dispositions := header["Content-Disposition"]
	if len(dispositions) != 1 {
		return ""
	}
	disposition, parameters, err := mime.ParseMediaType(dispositions[0])
	_, isFile := parameters["filename"]
	if err != nil || disposition != "form-data" || isFile {
		return ""
	}
	return parameters["name"]
}

func isPlain(transferEncoding string) bool {
	switch strings.ToLower(transferEncoding) {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}
