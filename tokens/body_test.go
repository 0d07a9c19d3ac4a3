package tokens

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	formBody      = Format{kind: kindForm}
	jsonBody      = Format{kind: kindJSON}
	multipartBody = Format{kindMultipart, "b"}
)

// A searched row says what Parse, Find and Strip make of one body.
type searched struct {
	body     string
	access   Found
	stripped string
}

func testSearched(t *testing.T, format Format, rows []searched) {
	t.Helper()
	for _, row := range rows {
		body, err := format.Parse([]byte(row.body), len(row.body))
		if err != nil {
			t.Errorf("%q: %v", row.body, err)
			continue
		}
		got := searched{row.body, body.Find("access_token"), string(body.Strip("access_token", "secret_token"))}
		if diff := cmp.Diff(row, got, cmp.AllowUnexported(searched{})); diff != "" {
			t.Errorf("%q: (-want +got)\n%s", row.body, diff)
		}
	}
}

func testNotSearched(t *testing.T, format Format, want Reason, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		if _, err := format.Parse([]byte(body), len(body)); !errors.Is(err, want) {
			t.Errorf("%.80q: %v, want %v", body, err, want)
		}
	}
}

func TestFormIsReadLikeAQuery(t *testing.T) {
	testSearched(t, formBody, []searched{
		{"", Found{}, ""},
		{"access_token=x", Found{"x", 1}, ""},
		{"a=%7a&access%5Ftoken=%78+&b=\xe9&&c", Found{"x ", 1}, "a=%7a&b=\xe9&&c"},
		{"access_token=x&access_token=y&secret_token=z", Found{"x", 2}, ""},
		{"a=1&access_token&secret_token=", Found{}, "a=1"},
		{"&access_token=x&", Found{"x", 1}, "&"},
		{"Access_Token=x", Found{}, "Access_Token=x"},
		{"=x", Found{}, "=x"},
		{"a=1%3Baccess_token%3Dx", Found{}, "a=1%3Baccess_token%3Dx"},
	})
	testNotSearched(t, formBody, ReasonMalformed,
		"a=1;access_token=x", "access_token=x;a=1", // Rack 2: two arguments
		"access_token=x&a=%zz", "access_token=x&a=100%", "access%token=x&a=%4", // net/url, Rack: an error
	)
}

func TestJSONMembersAreFoundAndCutOut(t *testing.T) {
	testSearched(t, jsonBody, []searched{
		{`{}`, Found{}, `{}`},
		{`{"access_token":"x"}`, Found{"x", 1}, `{}`},
		{" {\n \"access_token\" : \"x\" \n} ", Found{"x", 1}, " {\n  \n} "},
		{`{"access_token":"x","n":1.50e+02}`, Found{"x", 1}, `{"n":1.50e+02}`},
		{`{"n":12345678901234567890, "secret_token":"y", "access_token":"x"}`, Found{"x", 1}, `{"n":12345678901234567890}`},
		{`{"a":"\u00e9" , "access_token":"x" , "b":{"access_token":"z"}}`, Found{"x", 1}, `{"a":"\u00e9" , "b":{"access_token":"z"}}`},
		{"{\n  \"a\": 1,\n  \"access_token\": \"x\"\n}\n", Found{"x", 1}, "{\n  \"a\": 1\n}\n"},
		{`{"acc\u0065ss_token":"\"\u20ac\n,"}`, Found{"\"€\n,", 1}, `{}`},
		{"{\"a\":\"\u00e9\",\"access_token\":\"x\"}", Found{"x", 1}, "{\"a\":\"\u00e9\"}"},
		{"\ufeff{\"access_token\":\"x\", \"a\":1}", Found{"x", 1}, "\ufeff{\"a\":1}"},

		{`{"access_token":"x","access_token":"x"}`, Found{"x", 2}, `{}`},
		{`{"access_token":"","access_token":"x"}`, Found{"x", 1}, `{}`},
		{`{"access_token":1,"secret_token":null}`, Found{}, `{}`},
		{`{"access_token":["x"],"secret_token":{"a":"}"},"a":true}`, Found{}, `{"a":true}`},
		{`{"Access_Token":"x","access-token":"x","":"x"}`, Found{}, `{"Access_Token":"x","access-token":"x","":"x"}`},
		{`{"a":"{\"access_token\":\"x\"}"}`, Found{}, `{"a":"{\"access_token\":\"x\"}"}`},

		// encoding/json and ASP.NET Core would read y.
		{`{"access_token":"x","Access_Token":"y"}`, Found{"x", 2}, `{"Access_Token":"y"}`},
		{`{"acce\u017F\u017F_to\u212Aen":"y","access_token":"x"}`, Found{"x", 2}, `{"acce\u017F\u017F_to\u212Aen":"y"}`},
		{`{"access_token":"x","Access_Token":""}`, Found{"x", 1}, `{"Access_Token":""}`},
	})
	testNotSearched(t, jsonBody, ReasonMalformed,
		``, ` `, `{`, `{"access_token":"x"`, `{"access_token":"x",}`, `{"access_token" "x"}`, `{,"access_token":"x"}`,
		`{"access_token":"x"]`, `{"access_token":"x"}}`, `{"access_token":"x"} {}`, `{"access_token":"x"},`,
		`{access_token:"x"}`, `{1:"x"}`, `{"access_token":'x'}`, `{"access_token":"x
"}`, `{"access_token":"\x"}`, `{"a":01}`,
		"\ufeff\ufeff"+`{"access_token":"x"}`, `{"access_token":"x"}`+"\ufeff",
		"{\"access_token\":\"x\",\"a\":\"\xe9\"}", "{\"access_token\":\"x\",\"\xed\xa0\x80\":1}",
		"{\x00\"\x00a\x00\"\x00:\x001\x00}\x00", "\xff\xfe{\x00}\x00",
		`["access_token","x"]`, `"access_token"`, `null`, `1`,
	)
}

// part is a delimiter and a body part up to its content's last byte.
func part(headers, content string) string {
	return "--b\r\n" + headers + "\r\n\r\n" + content + "\r\n"
}

func TestPartsAreFoundAndCutOut(t *testing.T) {
	const end = "--b--\r\n"
	access := part(`Content-Disposition: form-data; name="access_token"`, "x")
	secret := part("content-disposition: form-data; name=secret_token\r\nContent-Type: text/plain", "y")
	binary := part(`Content-Disposition: form-data; name="a"; filename="a.bin"`, "\x00\xff\r\n-- b\r\r\n\n--\r\n\r\n--B--")
	file := part(`Content-Disposition: form-data; name="access_token"; filename="f"`, "x")
	empty := part(`Content-Disposition: form-data; name="access_token"; filename=""`, "x")
	encoded := part("Content-Disposition: form-data; name=access_token\r\nContent-Transfer-Encoding: base64", "eA==")
	plain := part("Content-Disposition: form-data; name=access_token\r\nContent-Transfer-Encoding: Binary", "x")
	other := part("Content-Disposition: form-data; name=Access_Token", "x")
	// Two ways in which HTTP libraries send the name of a file that isn't ASCII.
	utf8File := part(`Content-Disposition: form-data; name="a"; filename="`+"\u00e9'\\\u00e9"+`"; filename*=UTF-8''%C3%A9`, "x")
	extended := part("Content-Disposition: form-data; name=access_token; filename*=utf-8''a.bin", "x")

	testSearched(t, multipartBody, []searched{
		{"--b--", Found{}, "--b--"},
		{access + end, Found{"x", 1}, end},
		{secret + binary + access + end, Found{"x", 1}, binary + end},
		{binary + access + file + secret + end, Found{"x", 1}, binary + file + end},
		{access + access + end, Found{"x", 2}, end},
		{encoded + end, Found{}, end},
		{encoded + plain + end, Found{"x", 1}, end},
		{other + access + utf8File + end, Found{"x", 1}, other + utf8File + end},
		{empty + access + end, Found{"x", 1}, end},
		{extended + access + end, Found{"x", 1}, end},
		{part("Content-Disposition: form-data; name=access_token", "\r\n x-b\r\n") + end, Found{"\r\n x-b\r\n", 1}, end},
		{part("Content-Disposition: form-data; name=access_token", "") + end, Found{}, end},
		{"\r\n" + access + binary + "--b--\r\n\r\n", Found{"x", 1}, "\r\n" + binary + "--b--\r\n\r\n"},
	})
	testNotSearched(t, multipartBody, ReasonMalformed,
		"", "x", "--b", "--b\r\n", access, access+"--b", access+"--b-", access+"--b--x", access+"--bc\r\n",
		access+"--b\r\n"+end, // a delimiter where headers should be
		"--b\r\nContent-Disposition: form-data; name=access_token\r\n"+end,
	)
}

// Each of these was read in two ways by programs that multipartFields names.
func TestMultipartBodiesThatProgramsReadDifferentlyAreNotSearched(t *testing.T) {
	const (
		end  = "--b--\r\n"
		name = "Content-Disposition: form-data; name=access_token"
	)
	access := part(name, "x")
	for what, body := range map[string]string{
		"preamble":                    "preamble\r\n" + access + end,
		"boundary in the preamble":    "preamble --b\r\n" + name + "\r\n\r\ny\r\n" + access + end,
		"line break before CRLF":      "\n" + access + end,
		"long line before":            strings.Repeat("x", 5000) + "\r\n" + access + end,
		"long padding":                "--b" + strings.Repeat(" ", 5000) + access[len("--b"):] + end,
		"padding":                     "--b \t" + access[len("--b"):] + end,
		"padding at the end":          access + "--b-- \t",
		"epilogue":                    access + end + "epilogue",
		"parts behind the end":        access + end + access,
		"LF lines":                    strings.ReplaceAll(access+end, "\r\n", "\n"),
		"LF before a delimiter":       access + "x\n" + end,
		"CR before a delimiter":       access + "x\r" + end,
		"boundary in a line":          part(name, "x--b y") + end,
		"longer boundary":             part(name, "x\r\n--bc\r\ny") + end,
		"shared line break":           "--b\r\n" + name + "\r\n\r\n" + end,
		"no headers":                  "--b\r\n\r\nx\r\n" + access + end,
		"no disposition":              part("Content-Type: text/plain", "x") + access + end,
		"no name":                     part("Content-Disposition: form-data", "x") + access + end,
		"attachment":                  part("Content-Disposition: attachment; name=access_token", "x") + end,
		"two dispositions":            part(name+"\r\nContent-Disposition: form-data; name=a", "x") + end,
		"two dispositions, by case":   part(name+"\r\ncontent-disposition: form-data; name=a", "x") + end,
		"two names":                   part(name+"; name=a", "x") + end,
		"two names, by case":          part(name+"; Name=a", "x") + end,
		"extended name":               part("Content-Disposition: form-data; name*=utf-8''access_token", "x") + end,
		"continued name":              part("Content-Disposition: form-data; name*0=access; name*1=_token", "x") + end,
		"escape in a name":            part(`Content-Disposition: form-data; name="access\_token"`, "x") + end,
		"escaped quote":               part(`Content-Disposition: form-data; filename="a\"; name=access_token; x=\"b"`, "x") + end,
		"encoded word":                part(`Content-Disposition: form-data; name="=?utf-8?q?access=5Ftoken?="`, "x") + end,
		"single quotes":               part(`Content-Disposition: form-data; name='access_token'`, "x") + end,
		"unknown parameter":           part(name+`; x="; name=a"`, "x") + end,
		"folded header":               part("Content-Disposition: form-data;\r\n name=access_token", "x") + end,
		"space before the colon":      part("Content-Disposition : form-data; name=access_token", "x") + end,
		"space before a header":       part(" "+name, "x") + end,
		"no colon":                    part("no colon\r\n"+name, "x") + end,
		"LF in the headers":           part("X: y\n"+name, "x") + end,
		"LF ends the headers":         part(name+"\n\nx", "y") + end,
		"CR in the headers":           part("X: y\r"+name, "x") + end,
		"NUL in the headers":          part(name+"\x00", "x") + end,
		"parts within a part":         part(name+"\r\nContent-Type: Multipart/mixed; boundary=c", "--c\r\n\r\nx\r\n--c--") + end,
		"headers over Django's bound": part(name+"\r\nX: "+strings.Repeat("y", 1024), "x") + end,
	} {
		t.Run(what, func(t *testing.T) { testNotSearched(t, multipartBody, ReasonMalformed, body) })
	}
}

func TestBodiesBeyondALimitAreNotSearched(t *testing.T) {
	token := `"access_token":"x"`
	form := func(fields int) string { return strings.Repeat("a=1&", fields-1) + "access_token=x" }
	members := func(fields int) string { return "{" + strings.Repeat(`"a":1,`, fields-1) + token + "}" }
	parts := func(fields int) string {
		return strings.Repeat(part("Content-Disposition: form-data; name=a", ""), fields-1) +
			part("Content-Disposition: form-data; name=access_token", "x") + "--b--"
	}
	nested := func(depth int) string {
		return "{" + token + `,"a":{},"b":` + strings.Repeat("[", depth-1) + `"[\"[]]"` + strings.Repeat("]", depth-1) + "}"
	}
	for _, test := range []struct {
		format Format
		body   func(n int) string
		most   int
		reason Reason
	}{
		{formBody, form, MaxFields, ReasonFields},
		{jsonBody, members, MaxFields, ReasonFields},
		{multipartBody, parts, MaxFields, ReasonFields},
		{jsonBody, nested, MaxDepth, ReasonDepth},
	} {
		largest := []byte(test.body(test.most))
		body, err := test.format.Parse(largest, len(largest))
		if err != nil {
			t.Errorf("%.40q: %v", largest, err)
			continue
		}
		if diff := cmp.Diff(Found{"x", 1}, body.Find("access_token")); diff != "" {
			t.Errorf("%.40q: (-want +got)\n%s", largest, diff)
		}
		testNotSearched(t, test.format, test.reason, test.body(test.most+1))
		if _, err := test.format.Parse(largest, len(largest)-1); !errors.Is(err, ReasonSize) {
			t.Errorf("%.40q: %v, want %v", largest, err, ReasonSize)
		}
	}
	testNotSearched(t, Format{}, ReasonContentType, form(1))
}

func TestBodyWithoutTheNamesIsReturnedItself(t *testing.T) {
	raw := []byte(`{"a": 1}`)
	body, err := jsonBody.Parse(raw, len(raw))
	if err != nil {
		t.Fatal(err)
	}
	if stripped := body.Strip("access_token", "secret_token"); &stripped[0] != &raw[0] {
		t.Error("the body was copied")
	}
}
