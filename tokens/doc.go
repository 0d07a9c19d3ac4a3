// Package tokens finds a request's access token and secret token, and takes
// them out again before the request goes to the upstream. It works on what
// Kong hands over unparsed (the raw query string, the raw body, header names
// as sent) and does no I/O.
//
// Unlike Kong's own parsed views of a request, it keeps everything that is no
// token byte for byte: order, percent-encoding, white space, JSON numbers,
// bytes that aren't UTF-8. That is also why the query string, form bodies and
// multipart bodies are scanned here: net/url refuses what nginx accepts and
// mime/multipart doesn't say where in the body a part lies.
//
// One rule holds everywhere: an empty value is a missing one, so it neither
// is a token nor makes another value a duplicate, but it is stripped with the
// rest of its name. Names of query arguments and body fields match exactly,
// names of headers as [SameHeader] says.
//
// A [Found] belongs to one goroutine; everything else is safe for concurrent
// use.
package tokens
