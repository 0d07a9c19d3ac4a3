// Package tokens finds a request's access token and secret token, and takes
// them out again before the request goes to the upstream. It works on what
// Kong hands over unparsed (the raw query string, the raw body, header names
// as sent) and does no I/O.
//
// Unlike Kong's own parsed views of a request, it keeps everything that isn't a token
// byte for byte: order, percent-encoding, white space, JSON numbers, files in a form.
// That is why it scans query strings, forms and multipart bodies itself: net/url refuses
// query strings that nginx accepts, and mime/multipart doesn't say where in the body a
// part is.
//
// What is found and taken out here must be what an upstream's framework would read. So a
// body that common frameworks read differently isn't searched. These are: a multipart
// body with line ends other than CRLF, folded headers, a Content-Disposition other than
// one of form-data with name and filename, or anything before the first or after the last
// delimiter; a form with a bare ; or an invalid escape; JSON that isn't UTF-8; and each
// of them with a charset that doesn't contain ASCII.
//
// An empty value counts as a missing one everywhere: it is no token and makes no other
// value a duplicate, but it is stripped like every value of its name. Names of query
// arguments and body fields match exactly, names of headers as [SameHeader] says.
//
// A [Found] belongs to one goroutine; everything else is safe for concurrent
// use.
package tokens

// Found is the values that one place of a request (its headers, its query string, its
// body) has for one name. The zero Found is a missing token.
type Found struct {
	Value string // the first value; empty when there is none
	Count int    // how many values there are; more than one is a duplicate
}

// Add counts one more value. An empty value is a missing one: it isn't counted.
func (f *Found) Add(value string) {
	if value == "" {
		return
	}
	if f.Count == 0 {
		f.Value = value
	}
	f.Count++
}

// SameHeader reports whether a and b are spellings of one header's name:
// letters match without regard to case, and _ is equal to -. Many upstream
// frameworks read X_Consumer_ID and X-Consumer-Id as the same header, so a rule
// about one is a rule about both. It does not allocate.
func SameHeader(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if foldHeaderByte(a[i]) != foldHeaderByte(b[i]) {
			return false
		}
	}
	return true
}

// foldHeaderByte folds ASCII only: a name may hold bytes that aren't UTF-8.
func foldHeaderByte(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}
