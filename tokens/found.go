package tokens

// Found is what one place of a request (its headers, its query string, its
// body) holds under one name. The zero Found is a missing token.
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
