package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var names = []string{"access_token", "secret_token"}

func FuzzSameHeader(f *testing.F) {
	f.Add("access_token", "Access-Token")
	f.Add("caf\xe9", "\u212a")
	f.Fuzz(func(t *testing.T, a, b string) {
		if SameHeader(a, b) != bytes.Equal(folded(a), folded(b)) {
			t.Errorf("%q and %q are the same: %v", a, b, SameHeader(a, b))
		}
	})
}

// folded is the one spelling that stands for all of a header's name.
func folded(name string) []byte {
	b := []byte(name)
	for i, c := range b {
		switch {
		case 'A' <= c && c <= 'Z':
			b[i] |= 0x20
		case c == '_':
			b[i] = '-'
		}
	}
	return b
}

func FuzzQuery(f *testing.F) {
	f.Add("a=1&access_token=x&&b=%zz+%20&secret%5Ftoken=y&c;d=\xe9")
	f.Add("access_token&access_token=&secret_token=%41&secret_token=b")
	f.Fuzz(func(t *testing.T, raw string) {
		stripped := StripQuery(raw, names...)
		if again := StripQuery(stripped, names...); again != stripped {
			t.Errorf("%q: stripped to %q, and then to %q", raw, stripped, again)
		}
		for _, name := range names {
			if diff := cmp.Diff(Found{}, FindQuery(stripped, name)); diff != "" {
				t.Errorf("%q: stripped to %q: (-want +got)\n%s", raw, stripped, diff)
			}
		}
		checkOtherArguments(t, raw, stripped)
	})
}

func FuzzForm(f *testing.F) {
	f.Add([]byte("a=1&access_token=x&&b=%7a+%20&secret%5Ftoken=y&c%3bd=\xe9"))
	f.Add([]byte("access_token=x;a=1"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, stripped := parseAndStrip(t, formBody, raw)
		if body == nil {
			return
		}
		if _, err := url.ParseQuery(string(raw)); err != nil {
			t.Fatalf("%q: net/url doesn't read it: %v", raw, err)
		}
		if want := StripQuery(string(raw), names...); string(stripped) != want {
			t.Errorf("%q: stripped to %q, as a query to %q", raw, stripped, want)
		}
		for _, name := range names {
			if diff := cmp.Diff(FindQuery(string(raw), name), body.Find(name)); diff != "" {
				t.Errorf("%q: (-query +form)\n%s", raw, diff)
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add([]byte(`{"n":1.50,"access_token":"x", "a":[{"access_token":1}],"secret_token":"\u0079"}`))
	f.Add([]byte("{ \"access_token\" :\"x\",\n\"access_token\":null , \"a\":\"\\\"\xe9\" }"))
	f.Add([]byte(`{"acc\u0065ss_token":""}`))
	f.Add([]byte(`{"a":1,}`))
	f.Add([]byte("\ufeff{\"Access_Token\":\"x\",\"access_token\":\"y\"}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, stripped := parseAndStrip(t, jsonBody, raw)
		var before, after map[string]json.RawMessage
		readable := utf8.Valid(raw) && json.Unmarshal(withoutMark(raw), &before) == nil && before != nil
		if body == nil {
			_, err := jsonBody.Parse(raw, len(raw))
			if readable && errors.Is(err, ReasonMalformed) {
				t.Errorf("%q: encoding/json reads it", raw)
			}
			return
		}
		if !readable {
			t.Fatalf("%q: encoding/json doesn't read it", raw)
		}
		if err := json.Unmarshal(withoutMark(stripped), &after); err != nil {
			t.Fatalf("%q: stripped to %q: %v", raw, stripped, err)
		}
		held := len(before)
		for _, name := range names {
			var last string
			isString := json.Unmarshal(before[name], &last) == nil
			if found := body.Find(name); isString && found.Count == 1 && found.Value != last && last != "" {
				t.Errorf("%q: found %q, encoding/json %q", raw, found.Value, last)
			}
			delete(before, name)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%q: stripped to %q: (-before +after)\n%s", raw, stripped, diff)
		}
		checkUntouched(t, raw, stripped, held == len(before))
	})
}

func withoutMark(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\ufeff")) }

func FuzzMultipart(f *testing.F) {
	access := part(`Content-Disposition: form-data; name="access_token"`, "x")
	file := part("Content-Disposition: form-data; name=a; filename=f\r\nContent-Type: a/b", "\x00\r\n--B\n")
	f.Add([]byte(access + file + "--b--\r\n"))
	f.Add([]byte("preamble\r\n" + file + access + access + "--b-- \r\nepilogue"))
	f.Add([]byte("\r\n" + file + access + access + "--b--\r\n\r\n"))
	f.Add([]byte("--b \r\n\r\nno headers\r\n--b\r\nContent-Disposition: form-data;\r\n\tname=secret_token\r\n\r\n--b--"))
	f.Add([]byte(part("Content-Disposition: form-data; name=access_token; filename*=utf-8''f", "x") + "--b--"))
	f.Add([]byte(part(`Content-Disposition: form-data; filename=""; name="secret_token"`, "x") + "--b--"))
	f.Add([]byte("--b--"))
	f.Add([]byte(part("Content-Disposition: form-data; name=secret_token\r\nContent-Transfer-Encoding: base64", "eQ==") + "--b--"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, stripped := parseAndStrip(t, multipartBody, raw)
		if body == nil {
			return
		}
		before, err := readParts(raw)
		if err != nil {
			t.Fatalf("%q: mime/multipart doesn't read it: %v", raw, err)
		}
		after, err := readParts(stripped)
		if err != nil {
			t.Fatalf("%q: stripped to %q: %v", raw, stripped, err)
		}
		others := slices.DeleteFunc(slices.Clone(before), func(p parsedPart) bool { return slices.Contains(names, p.Name) })
		if diff := cmp.Diff(others, after, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%q: stripped to %q: (-before +after)\n%s", raw, stripped, diff)
		}
		checkUntouched(t, raw, stripped, len(others) == len(before))
		for _, name := range names {
			var want Found
			for _, p := range before {
				if p.Name == name && !p.MaybeFile && isPlain(p.Header["Content-Transfer-Encoding"]) {
					want.Add(p.Content)
				}
			}
			if diff := cmp.Diff(want, body.Find(name)); diff != "" {
				t.Errorf("%q: (-mime/multipart +found)\n%s", raw, diff)
			}
		}
	})
}

func FuzzFormatOf(f *testing.F) {
	f.Add(`multipart/form-data; boundary="b"`, "identity", []byte("--b--"))
	f.Add("application/json; charset", "", []byte("{}"))
	f.Add("application/x-www-form-urlencoded", "gzip", []byte("a"))
	f.Fuzz(func(t *testing.T, contentType, contentEncoding string, raw []byte) {
		format, err := FormatOf(contentType, contentEncoding)
		if reason := Reason(""); err != nil && !errors.As(err, &reason) {
			t.Fatalf("%q, %q: %v is no Reason", contentType, contentEncoding, err)
		}
		if err == nil {
			parseAndStrip(t, format, raw)
		}
	})
}

// parseAndStrip checks what holds for every format. It returns nils for a body
// that isn't searched.
func parseAndStrip(t *testing.T, format Format, raw []byte) (body *Body, stripped []byte) {
	t.Helper()
	original := bytes.Clone(raw)
	body, err := format.Parse(raw, len(raw))
	if err != nil {
		if reason := Reason(""); !errors.As(err, &reason) {
			t.Fatalf("%q: %v is no Reason", raw, err)
		}
		return nil, nil
	}
	stripped = body.Strip(names...)
	if !bytes.Equal(raw, original) {
		t.Fatalf("%q: was changed into %q", original, raw)
	}
	again, err := format.Parse(stripped, len(stripped))
	if err != nil {
		t.Fatalf("%q: stripped to %q: %v", raw, stripped, err)
	}
	if twice := again.Strip(names...); !bytes.Equal(twice, stripped) {
		t.Fatalf("%q: stripped to %q, and then to %q", raw, stripped, twice)
	}
	for _, name := range names {
		if diff := cmp.Diff(Found{}, again.Find(name)); diff != "" {
			t.Fatalf("%q: stripped to %q: (-want +got)\n%s", raw, stripped, diff)
		}
	}
	return body, stripped
}

// checkOtherArguments compares a query before and after stripping as net/url
// reads it. It leaves out what net/url can't read, and refuses a query of very
// many arguments as a whole.
func checkOtherArguments(t *testing.T, raw, stripped string) {
	t.Helper()
	if strings.Count(raw, "&") > 1000 {
		return
	}
	before, err := url.ParseQuery(raw)
	after, _ := url.ParseQuery(stripped)
	held := len(before)
	maps.DeleteFunc(before, func(name string, _ []string) bool { return slices.Contains(names, name) })
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("%q: stripped to %q: (-before +after)\n%s", raw, stripped, diff)
	}
	checkUntouched(t, []byte(raw), []byte(stripped), err == nil && held == len(before))
}

func checkUntouched(t *testing.T, raw, stripped []byte, nothingToStrip bool) {
	t.Helper()
	if nothingToStrip && !bytes.Equal(raw, stripped) {
		t.Errorf("%q: stripped to %q, though it doesn't hold the names", raw, stripped)
	}
}

// parsedPart is a part as mime/multipart reads it.
type parsedPart struct {
	Name      string // empty if the part is a file to every reader
	MaybeFile bool   // it is one to some
	Header    map[string]string
	Content   string
}

func readParts(body []byte) ([]parsedPart, error) {
	var parts []parsedPart
	reader := multipart.NewReader(bytes.NewReader(body), multipartBody.boundary)
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return parts, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		result := parsedPart{Header: map[string]string{}, Content: string(content)}
		for name := range part.Header {
			result.Header[name] = part.Header.Get(name)
		}
		disposition := part.Header.Get("Content-Disposition")
		_, parameters, err := mime.ParseMediaType(disposition)
		if err != nil {
			return nil, err
		}
		// mime leaves out a filename* in a charset that it doesn't know.
		mentions := func(parameter string) bool { return strings.Contains(strings.ToLower(disposition), parameter) }
		if parameters["filename"] == "" || !mentions("filename=") {
			result.Name = parameters["name"]
			result.MaybeFile = mentions("filename=") || mentions("filename*=")
		}
		parts = append(parts, result)
	}
}
