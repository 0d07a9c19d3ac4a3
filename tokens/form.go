package tokens

import "strings"

// formFields reads application/x-www-form-urlencoded. Like Kong, it counts
// empty arguments.
//
// A bare ; separates arguments to some readers (Rack 2, Python before 3.9.2)
// and is an error to net/url; an invalid escape stands for itself to PHP and
// nginx and is an error to net/url and Rack. No form that a browser or an HTTP
// library has encoded holds either.
func formFields(body string) ([]field, error) {
	if strings.Count(body, "&") >= MaxFields {
		return nil, ReasonFields
	}
	if strings.Contains(body, ";") || !validEscapes(body) {
		return nil, ReasonMalformed
	}
	var fields []field
	start := 0
	for argument := range strings.SplitSeq(body, "&") {
		key, value, _ := strings.Cut(argument, "=")
		end := start + len(argument)
		fields = append(fields, field{name: unescape(key), value: unescape(value), start: start, end: end})
		start = end + len("&")
	}
	return fields, nil
}

func validEscapes(s string) bool {
	for s != "" {
		_, size := unescapeByte(s)
		if s[0] == '%' && size == 1 {
			return false
		}
		s = s[size:]
	}
	return true
}
