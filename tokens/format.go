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
// and its parameters are ignored, except for the boundary. An absent
// Content-Encoding is an empty string.
//
// The error is a [Reason]: [ReasonContentType], [ReasonContentEncoding] or
// [ReasonBoundary].
func FormatOf(contentType, contentEncoding string) (Format, error) {
	kind := kindOf(contentType)
	if kind == kindOther {
		return Format{}, ReasonContentType
	}
	if encoding := strings.TrimSpace(contentEncoding); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return Format{}, ReasonContentEncoding
	}
	if kind != kindMultipart {
		return Format{kind: kind}, nil
	}
	_, parameters, err := mime.ParseMediaType(contentType)
	if err != nil || !validBoundary(parameters["boundary"]) {
		return Format{}, ReasonBoundary
	}
	return Format{kind: kind, boundary: parameters["boundary"]}, nil
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

// validBoundary holds a boundary to RFC 2046, section 5.1.1. Where a boundary
// is none, programs differ in where they see parts begin and end.
func validBoundary(boundary string) bool {
	const allowed = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'()+_,-./:=? "
	return 1 <= len(boundary) && len(boundary) <= 70 &&
		strings.Trim(boundary, allowed) == "" && !strings.HasSuffix(boundary, " ")
}
