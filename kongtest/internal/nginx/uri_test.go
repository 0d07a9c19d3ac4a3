package nginx

import "testing"

func TestNormalizedPaths(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "/a/./b": "/a/b", "/a/../b": "/b", "/../a": "/a", "/a//b": "/a/b", "/a/": "/a/", "/a/..": "/",
		"/a/.": "/a/", "/%41%2f%2F": "/A%2F%2F", "/%2e%2e/x": "/x", "/%zz": "/%zz", "/a%20b": "/a b",
	} {
		if got := NormalizePath(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
