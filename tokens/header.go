package tokens

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
