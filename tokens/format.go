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

// FormatOf determines from a request's headers how to read its body, before Kong is
// asked for the body. The media type is compared without regard to case, and its
// parameters are ignored, except for the boundary and the charset. An absent
// Content-Encoding is an empty string.
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

// isASCII reports whether a charset encodes ASCII's letters as ASCII does. An upstream
// that decodes by the charset (Tomcat, ASP.NET, Django) reads other names in a body in
// another charset, such as UTF-16 or EBCDIC.
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

// validBoundary checks a boundary by RFC 2046, section 5.1.1, but permits no comma,
// because PHP and Rack end it there. With an invalid boundary, programs disagree about
// where parts begin and end.
func validBoundary(boundary string) bool {
	const allowed = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'()+_-./:=? "
	return 1 <= len(boundary) && len(boundary) <= 70 &&
		strings.Trim(boundary, allowed) == "" && !strings.HasSuffix(boundary, " ")
}

// oneBoundary reports whether every program finds the same boundary in a Content-Type.
// PHP and Rack take whatever follows the first "boundary", even within the name or the
// value of another parameter, and not every program knows boundary* or escapes.
func oneBoundary(contentType string, parameters map[string]string) bool {
	known := 1 // the boundary
	if _, ok := parameters["charset"]; ok {
		known++
	}
	return len(parameters) == known &&
		strings.Count(strings.ToLower(contentType), "boundary=") == 1 && !strings.ContainsAny(contentType, `\*`)
}

// Reason is an error that says why a body isn't searched for tokens. Its value is a
// short word for logs, and never contains anything that a client sent.
//
// A body that isn't searched isn't stripped either, since nothing in it was a token.
type Reason string

// The reasons of this package's errors.
const (
	ReasonContentType     Reason = "content_type"     // not form-encoded, JSON or multipart/form-data
	ReasonContentEncoding Reason = "content_encoding" // compressed
	ReasonCharset         Reason = "charset"          // one that encodes letters otherwise than ASCII does
	ReasonBoundary        Reason = "boundary"         // multipart, without a usable boundary
	ReasonSize            Reason = "size"             // larger than max_body_bytes
	ReasonFields          Reason = "fields"           // more than MaxFields
	ReasonDepth           Reason = "depth"            // JSON, nested deeper than MaxDepth
	ReasonMalformed       Reason = "malformed"        // not what its Content-Type says, or read differently by different programs
)

// Error names the reason.
func (r Reason) Error() string { return "body not searched for tokens: " + string(r) }
