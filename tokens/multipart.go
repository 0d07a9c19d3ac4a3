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
// Programs disagree about much of what the RFCs permit and all of what they
// forbid, so that a part one of them sees is content to another. What browsers
// and HTTP libraries send they all read alike, and only that is read here. The
// readers compared with, and what makes each of them differ from the others:
//
//   - Go's mime/multipart gives up at a line of 4,096 bytes outside of parts, and
//     lets all lines end in LF if the first one does;
//   - Django sees the boundary within a line too, reads on behind the closing
//     delimiter, and leaves out a part whose headers are over 1,024 bytes;
//   - Werkzeug sees the boundary within a line of the preamble, and takes a CR
//     alone for the end of a line;
//   - PHP reads on behind the closing delimiter, doesn't know white space behind
//     a delimiter, and takes single quotes for quotes;
//   - busboy doesn't know white space behind a delimiter, nor dispositions other
//     than form-data, and decodes escapes;
//   - python-multipart (Starlette) refuses a preamble, white space behind a
//     delimiter, and folded headers;
//   - commons-fileupload (Tomcat) decodes names (=?utf-8?…) and descends into
//     parts that are multipart;
//   - which of several equal headers counts, and whether a part without a file's
//     name is a file, differs everywhere.
//
// So the boundary may occur as a delimiter only, on a line of its own that ends
// in CRLF; there is nothing before the first delimiter or behind the last but
// line ends; and a part is as readPart says.
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

// readPart reads what lies between two delimiters: headers, an empty line,
// content, and the second delimiter's line break.
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

// partHeaders is the headers of a part by their names in lower case.
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

// disposition is what a part says of itself in Content-Disposition.
type disposition struct {
	name     string
	filename string
	// maybeFile: an empty filename, or only filename*. PHP and Go take such a part
	// for a field where others take it for a file, so it has no value, but goes
	// with its name.
	maybeFile bool
}

// dispositionParameter is a parameter with nothing in it that programs take for
// different things: a backslash ahead of a quote, single quotes.
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
