package tokens

import (
	"mime"
	"strings"
)

// Format is how a request's body is encoded. Get one from [FormatOf].
type Format struct {
	kind     kind
	boundary string // of a multipart body
}

type kind int

const (
	kindOther kind = iota
	kindForm
	kindJSON
	kindMultipart
)

// FormatOf says from a request's headers, before its body is asked for, how
// the body is to be read. The media type is compared without regard to case,
// and its parameters are ignored, except for the boundary and the charset. An
// absent Content-Encoding is an empty string.
//
// The error is a [Reason]: [ReasonContentType], [ReasonContentEncoding],
// [ReasonCharset] or [ReasonBoundary].
func FormatOf(contentType, contentEncoding string) (Format, error) {
	kind := kindOf(contentType)
	if kind == kindOther {
		return Format{}, ReasonContentType
	}
	if encoding := strings.TrimSpace(contentEncoding); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return Format{}, ReasonContentEncoding
	}
	_, parameters, err := mime.ParseMediaType(contentType)
	switch {
	case !isASCII(parameters["charset"]), err != nil && strings.Contains(strings.ToLower(contentType), "charset="):
		return Format{}, ReasonCharset
	case kind != kindMultipart:
		return Format{kind: kind}, nil
	case err != nil || !validBoundary(parameters["boundary"]) || !oneBoundary(contentType, parameters):
		return Format{}, ReasonBoundary
	}
	return Format{kind: kind, boundary: parameters["boundary"]}, nil
}

// isASCII reports whether a charset has ASCII's letters where ASCII has them. To
// an upstream that decodes by the charset (Tomcat, ASP.NET, Django), a body in
// another one, UTF-16 or EBCDIC say, has fields with other names.
func isASCII(charset string) bool {
	switch strings.ToLower(charset) {
	case "", "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1252":
		return true
	}
	return false
}

func kindOf(contentType string) kind {
	mediaType, _, _ := strings.Cut(contentType, ";")
	mediaType = strings.TrimSpace(mediaType)
	switch {
	case strings.EqualFold(mediaType, "application/x-www-form-urlencoded"):
		return kindForm
	case strings.EqualFold(mediaType, "application/json"):
		return kindJSON
	case strings.EqualFold(mediaType, "multipart/form-data"):
		return kindMultipart
	}
	return kindOther
}

// validBoundary holds a boundary to RFC 2046, section 5.1.1, less the comma,
// where PHP and Rack see its end. Where a boundary is invalid, programs differ in
// where they see parts begin and end.
func validBoundary(boundary string) bool {
	const allowed = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'()+_-./:=? "
	return 1 <= len(boundary) && len(boundary) <= 70 &&
		strings.Trim(boundary, allowed) == "" && !strings.HasSuffix(boundary, " ")
}

// oneBoundary reports whether every reader of a Content-Type finds the same
// boundary in it. PHP and Rack take whatever follows the first "boundary", be it
// in the name or the value of another parameter; not all know boundary*, or
// escapes.
func oneBoundary(contentType string, parameters map[string]string) bool {
	known := 1 // the boundary
	if _, ok := parameters["charset"]; ok {
		known++
	}
	return len(parameters) == known &&
		strings.Count(strings.ToLower(contentType), "boundary=") == 1 && !strings.ContainsAny(contentType, `\*`)
}
