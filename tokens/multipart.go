package tokens

import (
	"bytes"
	"regexp"
	"strings"
)

// maxPartHeaders bounds the headers of a part, in bytes, as Django does; other
// readers have larger bounds.
const maxPartHeaders = 1024

var crlf = []byte("\r\n")

// multipartFields reads the parts of a multipart/form-data body (RFC 7578,
// RFC 2046 section 5.1). A part's field begins with its delimiter and ends
// where the next one begins, so that parts need no separator.
//
// Programs disagree about much of what the RFCs permit and about all that they forbid, so
// a part for one program is content for another. They agree about what browsers and HTTP
// libraries send, and only that is read here. These programs were compared; each differs
// from the others in this:
//
//   - Go's mime/multipart gives up at a line of 4,096 bytes outside of parts, and
//     lets all lines end in LF if the first one does;
//   - Django finds the boundary within a line too, reads on after the closing
//     delimiter, and skips a part whose headers are over 1,024 bytes;
//   - Werkzeug finds the boundary within a line of the preamble, and ends a line at a
//     CR alone;
//   - PHP reads on after the closing delimiter, doesn't know white space after a
//     delimiter, and treats single quotes as quotes;
//   - busboy knows neither white space after a delimiter nor dispositions other than
//     form-data, and decodes escapes;
//   - python-multipart (Starlette) refuses a preamble, white space after a
//     delimiter, and folded headers;
//   - commons-fileupload (Tomcat) decodes names (=?utf-8?…) and descends into
//     parts that are multipart;
//   - which of several equal headers counts, and whether a part without a file's
//     name is a file, differs everywhere.
//
// So the boundary may occur only as a delimiter, on a line of its own that ends in CRLF;
// before the first delimiter and after the last there may be only line ends; and a part
// must be as readPart says.
func multipartFields(body []byte, boundary string) ([]field, error) {
	dashes := []byte("--" + boundary)
	start := 0
	if bytes.HasPrefix(body, crlf) { // the first delimiter's own
		start = len(crlf)
	}
	if !bytes.HasPrefix(body[start:], dashes) {
		return nil, ReasonMalformed
	}
	var fields []field
	for {
		partStart := start + len(dashes) + len(crlf)
		behind := body[start+len(dashes):]
		if closing, ok := bytes.CutPrefix(behind, []byte("--")); ok {
			if len(bytes.ReplaceAll(closing, crlf, nil)) != 0 {
				return nil, ReasonMalformed
			}
			return fields, nil
		}
		length := bytes.Index(behind, dashes)
		if !bytes.HasPrefix(behind, crlf) || length < len(crlf) {
			return nil, ReasonMalformed
		}
		if len(fields) == MaxFields {
			return nil, ReasonFields
		}
		end := start + len(dashes) + length
		part, ok := readPart(body[partStart:end])
		if !ok {
			return nil, ReasonMalformed
		}
		part.start, part.end = start, end
		fields = append(fields, part)
		start = end
	}
}

// readPart reads what is between two delimiters: headers, an empty line, content, and the
// line break that belongs to the second delimiter.
func readPart(part []byte) (f field, ok bool) {
	head, content, divided := bytes.Cut(part, []byte("\r\n\r\n"))
	content, ended := bytes.CutSuffix(content, crlf)
	if !divided || !ended || len(head) > maxPartHeaders {
		return field{}, false
	}
	headers, ok := partHeaders(string(head))
	if !ok || strings.HasPrefix(strings.ToLower(headers["content-type"]), "multipart/") {
		return field{}, false
	}
	d, ok := parseDisposition(headers["content-disposition"])
	if !ok {
		return field{}, false
	}
	if d.filename != "" {
		return field{}, true
	}
	f.name = d.name
	if !d.maybeFile && isPlain(headers["content-transfer-encoding"]) {
		f.value = string(content)
	}
	return f, true
}

// headerLine is a header in one line. Its value may be in any encoding of text.
var headerLine = regexp.MustCompile(`^([A-Za-z0-9-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)$`)

// partHeaders returns the headers of a part by their names in lower case.
func partHeaders(head string) (headers map[string]string, ok bool) {
	headers = map[string]string{}
	for line := range strings.SplitSeq(head, "\r\n") {
		match := headerLine.FindStringSubmatch(line)
		if match == nil {
			return nil, false
		}
		name := strings.ToLower(match[1])
		if _, twice := headers[name]; twice {
			return nil, false
		}
		headers[name] = strings.TrimRight(match[2], " \t")
	}
	return headers, true
}

// disposition is a part's Content-Disposition.
type disposition struct {
	name     string
	filename string
	// maybeFile: it has an empty filename, or only filename*. For PHP and Go such a part
	// is a field, for others a file. So it has no value, but is stripped by its name.
	maybeFile bool
}

// dispositionParameter is a parameter without anything that programs read differently: a
// backslash before a quote, single quotes.
var dispositionParameter = regexp.MustCompile(`(?i)^;[ \t]*(?:` +
	`(name|filename)=(?:"((?:[^"\\]|\\[^"\\])*)"|([\w.+-]+))` +
	`|(filename\*)=[\w-]+'[\w-]*'[\w.%!#$&+^|~-]+)`)

func parseDisposition(s string) (d disposition, ok bool) {
	const formData = "form-data"
	if len(s) < len(formData) || !strings.EqualFold(s[:len(formData)], formData) {
		return disposition{}, false
	}
	seen := map[string]bool{}
	for rest := s[len(formData):]; rest != ""; {
		match := dispositionParameter.FindStringSubmatch(rest)
		if match == nil {
			return disposition{}, false
		}
		rest = rest[len(match[0]):]
		parameter, value := strings.ToLower(match[1]+match[4]), match[2]+match[3]
		if seen[parameter] {
			return disposition{}, false
		}
		seen[parameter] = true
		switch parameter {
		case "name":
			d.name = value
		case "filename":
			d.filename = value
		}
	}
	d.maybeFile = seen["filename"] || seen["filename*"]
	readable := !strings.Contains(d.name, `\`) && !strings.Contains(d.name, "=?")
	return d, seen["name"] && readable
}

func isPlain(transferEncoding string) bool {
	switch strings.ToLower(transferEncoding) {
	case "", "7bit", "8bit", "binary":
		return true
	}
	return false
}
