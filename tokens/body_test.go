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
		{"a=%zz&access%5Ftoken=%78+&b=\xe9&&c", Found{"x ", 1}, "a=%zz&b=\xe9&&c"},
		{"access_token=x&access_token=y&secret_token=z", Found{"x", 2}, ""},
		{"a=1&access_token&secret_token=", Found{}, "a=1"},
		{"&access_token=x&", Found{"x", 1}, "&"},
		{"Access_Token=x", Found{}, "Access_Token=x"},
		{"=x", Found{}, "=x"},
	})
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
		{"{\"a\":\"\xe9\",\"access_token\":\"x\"}", Found{"x", 1}, "{\"a\":\"\xe9\"}"},

		{`{"access_token":"x","access_token":"x"}`, Found{"x", 2}, `{}`},
		{`{"access_token":"","access_token":"x"}`, Found{"x", 1}, `{}`},
		{`{"access_token":1,"secret_token":null}`, Found{}, `{}`},
		{`{"access_token":["x"],"secret_token":{"a":"}"},"a":true}`, Found{}, `{"a":true}`},
		{`{"Access_Token":"x","access-token":"x","":"x"}`, Found{}, `{"Access_Token":"x","access-token":"x","":"x"}`},
		{`{"a":"{\"access_token\":\"x\"}"}`, Found{}, `{"a":"{\"access_token\":\"x\"}"}`},
	})
	testNotSearched(t, jsonBody, ReasonMalformed,
		``, ` `, `{`, `{"access_token":"x"`, `{"access_token":"x",}`, `{"access_token" "x"}`, `{,"access_token":"x"}`,
		`{"access_token":"x"]`, `{"access_token":"x"}}`, `{"access_token":"x"} {}`, `{"access_token":"x"},`,
		`{access_token:"x"}`, `{1:"x"}`, `{"access_token":'x'}`, `{"access_token":"x
"}`, `{"access_token":"\x"}`, `{"a":01}`,
		"\ufeff"+`{"access_token":"x"}`,
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
	file := part(`Content-Disposition: form-data; name="access_token"; filename=""`, "x")
	encoded := part("Content-Disposition: form-data; name=access_token\r\nContent-Transfer-Encoding: base64", "eA==")
	plain := part("Content-Disposition: form-data; name=access_token\r\nContent-Transfer-Encoding: Binary", "x")
	folded := part("Content-Disposition: form-data;\r\n name=access_token", "x")
	// None of these names a form field.
	others := "--b\r\n\r\nno headers\r\n" +
		part("Content-Type: text/plain", "x") +
		part("Content-Disposition: attachment; name=access_token", "x") +
		part("Content-Disposition: form-data; name=Access_Token", "x") +
		part("Content-Disposition: form-data; name=access_token; name=a", "x") +
		part("Content-Disposition: form-data; name=access_token\r\nContent-Disposition: form-data; name=a", "x")

	testSearched(t, multipartBody, []searched{
		{"--b--", Found{}, "--b--"},
		{access + end, Found{"x", 1}, end},
		{secret + binary + access + end, Found{"x", 1}, binary + end},
		{binary + access + file + secret + end, Found{"x", 1}, binary + file + end},
		{access + access + end, Found{"x", 2}, end},
		{encoded + end, Found{}, end},
		{encoded + plain + end, Found{"x", 1}, end},
		{folded + end, Found{"x", 1}, end},
		{others + access + end, Found{"x", 1}, others + end},
		{part("Content-Disposition: form-data; name=access_token", "\r\n x--b\r\n") + end, Found{"\r\n x--b\r\n", 1}, end},
		{part("Content-Disposition: form-data; name=access_token", "") + end, Found{}, end},
		{"--b\r\nContent-Disposition: form-data; name=access_token\r\n\r\n" + end, Found{}, end},
		{"--b\r\n\r\n" + access + end, Found{"x", 1}, "--b\r\n\r\n" + end},
		{"preamble --b\r\n" + access + end + "epilogue\r\n" + access, Found{"x", 1}, "preamble --b\r\n" + end + "epilogue\r\n" + access},
		{"--b \t" + access[len("--b"):] + "--b-- \t", Found{"x", 1}, "--b-- \t"},
	})
	testNotSearched(t, multipartBody, ReasonMalformed,
		"", "x", "--b", "--b\r\n", access, access+"--b", access+"--b-", access+"--b--x", access+"--bc\r\n",
		access+"--b\r\n"+end, // a delimiter where headers should be
		"\n"+access+end,
		access+"x\n"+end,
		strings.ReplaceAll(access+end, "\r\n", "\n"),
		"--b\r\nContent-Disposition: form-data; name=access_token\r\n"+end,
		part("Content-Disposition: form-data; name=access_token\n\nx", "y")+end,
		part("no colon", "x")+end,
		part(" Content-Disposition: form-data; name=access_token", "x")+end,
	)
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
