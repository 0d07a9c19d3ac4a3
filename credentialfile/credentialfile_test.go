package credentialfile

import (
	"bytes"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
)

// read is all of a file, a line for each credential, and the error that ended it.
func read(t *testing.T, text string, format Format) (rows []string) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), format)
	if err != nil {
		return []string{err.Error()}
	}
	for {
		row, err := r.Next()
		switch {
		case err == io.EOF:
			return rows
		case err != nil:
			return append(rows, "end: "+err.Error())
		case row.Err != nil:
			rows = append(rows, row.Position+": "+row.Err.Error())
		default:
			who := row.Record.Consumer
			rows = append(rows, strings.Join([]string{row.Position, row.Record.AccessToken, row.Record.Secret.Token, who.ID + who.Username, row.Record.TTL.String()}, " "))
		}
	}
}

const (
	alice = `{"access_token":"alice","secret_token":"s","consumer":{"username":"a"}}`
	bob   = `{"access_token":"bob","secret_token":"t","consumer":{"id":"3FD1EEA1-885A-4011-B986-289943FF8177"},"created_at":1700000000,"updated_at":1700000000,"ttl":60}`

	aliceRow, bobRow = "alice s a 0s", "bob t 3fd1eea1-885a-4011-b986-289943ff8177 1m0s"
)

func TestFormats(t *testing.T) {
	long := strings.Repeat("x", maxRow)
	for name, tt := range map[string]struct {
		text   string
		format Format
		want   []string
	}{
		"lines":                   {text: alice + "\n\n" + bob, want: []string{"line 1 " + aliceRow, "line 3 " + bobRow}},
		"lines of Windows":        {text: "\ufeff" + alice + "\r\n" + bob + "\r\n", want: []string{"line 1 " + aliceRow, "line 2 " + bobRow}},
		"nothing":                 {},
		"a wrong line":            {text: alice + "\n{\"access_token\":\n" + bob, want: []string{"line 1 " + aliceRow, "line 2: json: it is not valid JSON (write {\"access_token\": \"…\", \"secret_token\": \"…\", \"consumer\": {\"username\": \"…\"}})", "line 3 " + bobRow}},
		"a line that is too long": {text: alice + "\n" + long + long + "\n" + bob, want: []string{"line 1 " + aliceRow, "line 2: it is longer than 131072 bytes (write one record a line)", "line 3 " + bobRow}},
		"a long line at the end":  {text: alice + "\n" + long, want: []string{"line 1 " + aliceRow, "line 2: it is longer than 131072 bytes (write one record a line)"}},

		"an answer":     {text: `{"data":[` + alice + "," + bob + `],"next":null}`, want: []string{"credential 1 " + aliceRow, "credential 2 " + bobRow}},
		"pages":         {text: `{"next":"/vault-auth/v/credentials?offset=x","offset":"x","data":[` + alice + "]}\n" + `{"data":[` + bob + `],"next":null}`, want: []string{"credential 1 " + aliceRow, "credential 2 " + bobRow}},
		"a page lacks":  {text: `{"data":[` + alice + `],"next":"/vault-auth/v/credentials?offset=x"}`, want: []string{"credential 1 " + aliceRow, "end: the last answer names a next page, so these are not all: get that one as well, and add it to the file"}},
		"one created":   {text: `{"data":` + alice + `}{ "data": ` + bob + `}`, want: []string{"credential 1 " + aliceRow, "credential 2 " + bobRow}},
		"without any":   {text: `{"data":[],"next":null}`},
		"cut off":       {text: `{"data":[` + alice + `,{"access_to`, want: []string{"credential 1 " + aliceRow, "end: after credential 1: it is not valid JSON, so the rest can't be read"}},
		"cut off after": {text: `{"data":[` + alice + `]`, want: []string{"credential 1 " + aliceRow, "end: after credential 1: it is not valid JSON, so the rest can't be read"}},
		"a field twice": {text: `{"data":{"access_token":"alice","access_token":"bob"}}`, want: []string{"credential 1: json: a field is given more than once (leave one of them)"}},
		"another API":   {text: `{"data":"hello"}`, want: []string{"end: after credential 0: it is not an answer of Kong Enterprise's, an object with the field data"}},
		"no answer":     {text: `[1]`, format: Kong, want: []string{"end: after credential 0: it is not an answer of Kong Enterprise's, an object with the field data"}},
		"a large one":   {text: `{"data":[` + alice + `,{"access_token":"` + long + long + `"}]}`, want: []string{"credential 1 " + aliceRow, "end: after credential 1: one credential takes more than 131072 bytes, so the rest can't be read"}},

		"CSV": {text: "\ufeffaccess_token,secret_token,consumer,ttl\nalice,s,a,\nbob,t,3fd1eea1-885a-4011-b986-289943ff8177,60\n", want: []string{"line 2 " + aliceRow, "line 3 " + bobRow}},
		"CSV with semicolons": {text: "access_token;secret_token;consumer_id;consumer_username;ttl\r\nalice;s;;a;\r\nbob;t;3fd1eea1-885a-4011-b986-289943ff8177;b;1m\r\n",
			want: []string{"line 2 " + aliceRow, "line 3 " + bobRow}},
		"CSV with wrong rows": {text: "access_token,secret_token,consumer\nalice,s\nalice,s,a\n\"x\"y,s,a\nalice,s,a\n",
			want: []string{"line 2: it doesn't have as many cells as the header", "line 3 " + aliceRow, "line 4: it is not valid CSV: extraneous or missing \" in quoted-field", "line 5 " + aliceRow}},
		"CSV that never ends": {text: "access_token,secret_token,consumer\nalice,s,a\nbob,\"" + long + long, want: []string{"line 2 " + aliceRow, "end: one credential takes more than 131072 bytes, so the rest can't be read"}},
		"CSV, other column":   {text: "access_token,password\n", want: []string{"column 2 of the header is not one of " + strings.Join(columns, ", ")}},
		"CSV, column twice":   {text: "access_token,ttl,ttl\n", want: []string{"the header names ttl twice"}},
		"CSV, bad header":     {text: "access_token,\"", format: CSV, want: []string{"the header can't be read (it is not valid CSV: extraneous or missing \" in quoted-field)"}},
		"CSV, empty":          {format: CSV, want: []string{"the header can't be read (it is empty)"}},

		"decK":    {text: "_format_version: \"3.0\"\nconsumers: []\n", want: []string{"it is a decK dump, which holds no credentials of vault-auth: they are in the vault only. It can name the consumers: --consumers"}},
		"prose":   {text: "hello", want: []string{"it is neither lines of JSON, nor CSV with a header that names access_token, nor Kong's answers (name the format with --format)"}},
		"another": {text: "hello", format: "toml", want: []string{`the format is json, csv or kong, not "toml"`}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, read(t, tt.text, tt.format)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// records are those of a file that has no errors.
func records(t *testing.T, text string, format Format) (all []*credential.Record) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), format)
	if err != nil {
		t.Fatal(err)
	}
	for {
		row, err := r.Next()
		if err == io.EOF {
			return all
		}
		if err != nil || row.Err != nil {
			t.Fatal(row.Position, err, row.Err)
		}
		all = append(all, row.Record)
	}
}

// TestWhatIsWrittenIsReadAgain in every format, whatever it holds.
func TestWhatIsWrittenIsReadAgain(t *testing.T) {
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	want := []*credential.Record{
		{AccessToken: "a", Secret: credential.PlainSecret(`with "quotes", commas; and ü`), Consumer: credential.Consumer{Username: "3, \"x\""}},
		{
			AccessToken: "b", Secret: credential.HashedSecret("s"), Previous: credential.PlainSecret("p"), PreviousExpiresAt: end,
			Consumer: credential.Consumer{ID: "3fd1eea1-885a-4011-b986-289943ff8177"}, TTL: 1500 * time.Millisecond, Disabled: true, NotBefore: end, ExpiresAt: end,
			AllowedIPs: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")}, Groups: []string{"gold", `"x y"`},
			Description: "two\nlines", CreatedBy: "olga", CreatedAt: end, UpdatedAt: end,
		},
		{AccessToken: "c", Secret: credential.PlainSecret("s"), Consumer: credential.Consumer{Username: "{}"}, Groups: []string{}},
		{AccessToken: "d", Secret: credential.PlainSecret("s"), Consumer: credential.Consumer{Username: "u"}, Groups: []string{"[gold]", "x"}},
	}
	for _, format := range []Format{JSON, CSV, Kong} {
		for n := range len(want) + 1 {
			var b bytes.Buffer
			w, err := NewWriter(&b, format)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range want[:n] {
				if err := w.Write(r); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			read := records(t, b.String(), "")
			if len(read) != n {
				t.Fatalf("%s: %d records, want %d", format, len(read), n)
			}
			for i, got := range read {
				if diff := cmp.Diff(encoded(t, want[i]), encoded(t, got)); diff != "" {
					t.Errorf("%s: %s", format, diff)
				}
			}
		}
	}
	if _, err := NewWriter(io.Discard, "toml"); err == nil {
		t.Error("another format is taken")
	}
	if w, _ := NewWriter(io.Discard, JSON); w.Write(&credential.Record{}) == nil {
		t.Error("an unusable record is written")
	}
}

func encoded(t *testing.T, r *credential.Record) string {
	t.Helper()
	b, err := credential.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestConsumersOfADump(t *testing.T) {
	got, err := ReadConsumers(strings.NewReader(`_format_version: "3.0"
consumers:
- {id: 3FD1EEA1-885A-4011-B986-289943FF8177, username: mobile-app, custom_id: partner}
- {username: partner, custom_id: mobile-app}
- {custom_id: nobody}
`))
	mobile := credential.Consumer{ID: "3fd1eea1-885a-4011-b986-289943ff8177", Username: "mobile-app"}
	want := Consumers{mobile.ID: mobile, "mobile-app": mobile, "partner": {Username: "partner"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if got, err := ReadConsumers(strings.NewReader(`{"_format_version": "3.0", "consumers": [{"username": "a"}]}`)); len(got) != 1 || err != nil {
		t.Error("JSON is not read")
	}
	for _, text := range []string{"", "hello", "consumers: []", "_format_version: '3.0'\nconsumers: {}", "a: &a [*a]"} {
		if _, err := ReadConsumers(strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken for a dump", text)
		}
	}
	if _, err := readConsumers(io.MultiReader(strings.NewReader("_format_version: '3.0'\n# "), zeros{}), 1<<16); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("an endless file: %v", err)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

// FuzzReader: whatever the file, reading ends, and what it reads is a record that can be
// written and is then the same.
func FuzzReader(f *testing.F) {
	for _, format := range []string{"json", "csv", "kong", ""} {
		for _, text := range []string{
			alice + "\n" + bob, `{"data":[` + alice + `],"next":"x"}`, `{"data":` + bob + `}`, "access_token,secret_token,consumer\nalice,s,a\n",
			"access_token;secret_token;consumer_id;groups\nalice;s;3fd1eea1-885a-4011-b986-289943ff8177;[]\n", "{", `"`, "\ufeff",
		} {
			f.Add(text, format)
		}
	}
	f.Fuzz(func(t *testing.T, text, format string) {
		r, err := NewReader(strings.NewReader(text), Format(format))
		if err != nil {
			return
		}
		for range len(text) + 2 {
			row, err := r.Next()
			if err != nil {
				return
			}
			if (row.Record == nil) == (row.Err == nil) || row.Position == "" {
				t.Fatalf("%+v", row)
			}
			if row.Record == nil {
				continue
			}
			want, err := credential.Encode(row.Record)
			if err != nil {
				continue // a name that can only be read, such as one with white space at its end
			}
			for _, format := range []Format{JSON, Kong} {
				var b bytes.Buffer
				w, _ := NewWriter(&b, format)
				if err := w.Write(row.Record); err != nil || w.Close() != nil {
					t.Fatal(err)
				}
				if got := records(t, b.String(), format); len(got) != 1 || encoded(t, got[0]) != string(want) {
					t.Fatalf("%s: it is another record: %s", format, want)
				}
			}
		}
		t.Fatal("it doesn't end")
	})
}

// FuzzConsumers: whatever the dump, each of its consumers can be a credential's.
func FuzzConsumers(f *testing.F) {
	f.Add("_format_version: '3.0'\nconsumers:\n- {id: 3fd1eea1-885a-4011-b986-289943ff8177, username: a, custom_id: b}\n")
	f.Add(`{"_format_version": "3.0", "consumers": [{"username": "a"}]}`)
	f.Add("_format_version: '3.0'\na: &a [b, b]\nconsumers: [*a]\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := ReadConsumers(strings.NewReader(text))
		for name, c := range all {
			if name == "" || c == (credential.Consumer{}) {
				t.Fatalf("%q: %+v", name, c)
			}
		}
	})
}
