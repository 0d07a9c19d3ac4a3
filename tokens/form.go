package tokens

import "strings"

// formFields reads application/x-www-form-urlencoded. Like Kong, it counts
// empty arguments.
func formFields(body string) ([]field, error) {
	if strings.Count(body, "&") >= MaxFields {
		return nil, ReasonFields
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
