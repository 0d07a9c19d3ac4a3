package tokens

// Reason is an error that says why a body isn't searched for tokens. Its value
// is a short word for logs; it never holds anything a client sent.
//
// A body that isn't searched isn't stripped either: nothing in it was a token.
type Reason string

// The reasons of this package's errors.
const (
	ReasonContentType     Reason = "content_type"     // not form-encoded, JSON or multipart/form-data
	ReasonContentEncoding Reason = "content_encoding" // compressed
	ReasonCharset         Reason = "charset"          // not one whose ASCII letters are ASCII's
	ReasonBoundary        Reason = "boundary"         // multipart, without a usable boundary
	ReasonSize            Reason = "size"             // larger than max_body_bytes
	ReasonFields          Reason = "fields"           // more than MaxFields
	ReasonDepth           Reason = "depth"            // JSON, nested deeper than MaxDepth
	ReasonMalformed       Reason = "malformed"        // not what its Content-Type says, or read differently by different programs
)

// Error names the reason.
func (r Reason) Error() string { return "body not searched for tokens: " + string(r) }
