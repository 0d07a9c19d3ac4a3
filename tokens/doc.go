// Package tokens finds a request's access token and secret token, and takes
// them out again before the request goes to the upstream. It works on what
// Kong hands over unparsed (the raw query string, the raw body, header names
// as sent) and does no I/O.
//
// Unlike Kong's own parsed views of a request, it keeps everything that is no
// token byte for byte: order, percent-encoding, white space, JSON numbers, files
// in a form. That is also why the query string, form bodies and multipart bodies
// are scanned here: net/url refuses query strings that nginx accepts, and
// mime/multipart doesn't say where in the body a part lies.
//
// What an upstream's framework would read in a body must be what is found and
// taken out here. So a body that common readers don't all read alike isn't
// searched: in a multipart body anything but CRLF line ends, headers in one line
// with one Content-Disposition (form-data, name, filename), and nothing before the
// first or behind the last delimiter; in a form a bare ; or an invalid escape; in
// JSON anything but UTF-8; and in all of them a charset that isn't ASCII's.
//
// One rule holds everywhere: an empty value is a missing one, so it neither
// is a token nor makes another value a duplicate, but it is stripped with the
// rest of its name. Names of query arguments and body fields match exactly,
// names of headers as [SameHeader] says.
//
// A [Found] belongs to one goroutine; everything else is safe for concurrent
// use.
package tokens
