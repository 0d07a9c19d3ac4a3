package tokens

import (
	"errors"
	"strings"
	"testing"
)

func TestFormatComesFromContentType(t *testing.T) {
	for _, test := range []struct {
		contentType string
		want        Format
	}{
		{"application/x-www-form-urlencoded", Format{kind: kindForm}},
		{"Application/X-WWW-Form-Urlencoded; charset=utf-8", Format{kind: kindForm}},
		{"application/json", Format{kind: kindJSON}},
		{" application/JSON ;charset", Format{kind: kindJSON}},
		{`application/json; charset="UTF8"`, Format{kind: kindJSON}},
		{"application/x-www-form-urlencoded; charset=ISO-8859-1", Format{kind: kindForm}},
		{"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", Format{kindMultipart, "----WebKitFormBoundary7MA4YWxkTrZu0gW"}},
		{"multipart/form-data; boundary=b", Format{kindMultipart, "b"}},
		{`Multipart/Form-Data; charset=utf-8; BOUNDARY="a b:c"`, Format{kindMultipart, "a b:c"}},
		{"multipart/form-data; boundary=" + strings.Repeat("b", 70), Format{kindMultipart, strings.Repeat("b", 70)}},
	} {
		for _, encoding := range []string{"", "identity", " Identity "} {
			if got, err := FormatOf(test.contentType, encoding); err != nil || got != test.want {
				t.Errorf("FormatOf(%q, %q) = %v, %v, want %v", test.contentType, encoding, got, err, test.want)
			}
		}
	}
}

func TestWhatCannotBeReadIsNotSearched(t *testing.T) {
	for _, test := range []struct {
		contentType, encoding string
		want                  Reason
	}{
		{"", "", ReasonContentType},
		{"text/plain", "gzip", ReasonContentType},
		{"application/json-patch+json", "", ReasonContentType},
		{"multipart/mixed; boundary=b", "", ReasonContentType},
		{"application/json", "gzip", ReasonContentEncoding},
		{"application/json", "identity, br", ReasonContentEncoding},
		{"multipart/form-data", "", ReasonBoundary},
		{"multipart/form-data; boundary=", "", ReasonBoundary},
		{`multipart/form-data; boundary="b "`, "", ReasonBoundary},
		{`multipart/form-data; boundary="b*"`, "", ReasonBoundary},
		{"multipart/form-data; boundary=b; boundary=c", "", ReasonBoundary},
		{"multipart/form-data; xboundary=c; boundary=b", "", ReasonBoundary}, // PHP, Rack: c
		{`multipart/form-data; charset="utf-8"; x="boundary=c"; boundary=b`, "", ReasonBoundary},
		{`multipart/form-data; boundary="b,c"`, "", ReasonBoundary}, // Rack: b
		{`multipart/form-data; boundary="b\c"`, "", ReasonBoundary},
		{"multipart/form-data; boundary*=utf-8''b", "", ReasonBoundary},
		{"multipart/form-data; boundary*0=b; boundary*1=c", "", ReasonBoundary},
		{"application/x-www-form-urlencoded; charset=IBM037", "", ReasonCharset},
		{"application/json; charset=utf-16", "", ReasonCharset},
		{"application/json; charset=utf-8; charset=utf-16", "", ReasonCharset},
		{"multipart/form-data; boundary=b; charset=utf-7", "", ReasonCharset},
		{"multipart/form-data; boundary=" + strings.Repeat("b", 71), "", ReasonBoundary},
	} {
		_, err := FormatOf(test.contentType, test.encoding)
		if !errors.Is(err, test.want) {
			t.Errorf("FormatOf(%q, %q): %v, want %v", test.contentType, test.encoding, err, test.want)
		}
	}
}
