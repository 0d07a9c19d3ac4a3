package pluginserver

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	pdkbridge "github.com/Kong/go-pdk/bridge"
	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
)

// fieldMap collects what Fields yields, copied.
func fieldMap(t *testing.T, reply []byte) map[string][]string {
	t.Helper()
	m := map[string][]string{}
	for f, err := range Fields(reply) {
		if err != nil {
			t.Fatal(err)
		}
		m[string(f.Name)] = append(m[string(f.Name)], string(f.Value))
	}
	return m
}

func TestFieldsReadsWhatKongSends(t *testing.T) {
	s, err := structpb.NewStruct(map[string]any{
		"one": "1", "empty": "", "many": []any{"a", "", "b"}, "flag": true, "number": 1.5, "none": []any{},
		"nested": []any{[]any{"x"}, "y"},
	})
	if err != nil {
		t.Fatal(err)
	}
	reply, err := proto.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"one": {"1"}, "empty": {""}, "many": {"a", "", "b"}, "nested": {"y"}}
	if diff := cmp.Diff(want, fieldMap(t, reply)); diff != "" {
		t.Error(diff)
	}
}

func TestStringsReadsWhatAValueHolds(t *testing.T) {
	for name, tc := range map[string]struct {
		value any
		want  []string
	}{
		"nothing": {nil, nil},
		"a text":  {"a", []string{"a"}},
		"a list":  {[]any{"a", 1.5, "b"}, []string{"a", "b"}},
		"a table": {map[string]any{"key": "k", "tags": []any{"x"}, "consumer": map[string]any{"id": "c"}}, []string{"k", "x"}},
		"a flag":  {true, nil},
	} {
		v, err := structpb.NewValue(tc.value)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := proto.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Strings(reply)
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Error(name, err, diff)
		}
	}
	for _, reply := range []string{"\xff", "\x2a\x01\xff", "\x32\x01\xff"} {
		if got, err := Strings([]byte(reply)); err == nil {
			t.Errorf("%q holds %q", reply, got)
		}
	}
}

func TestFieldsThatAreNotUTF8AreKept(t *testing.T) {
	const name, value = "x-foo", "caf\xe9"
	reply := AppendField(nil, name, value, "plain")
	if diff := cmp.Diff(map[string][]string{name: {value, "plain"}}, fieldMap(t, reply)); diff != "" {
		t.Error(diff)
	}
}

func TestAppendFieldWritesWhatGoPDKWould(t *testing.T) {
	for name, values := range map[string][]string{"none": nil, "one": {"1"}, "empty": {""}, "many": {"a", "b", ""}, "long": {strings.Repeat("x", 300), "y"}} {
		var got structpb.Struct
		if err := proto.Unmarshal(AppendField(nil, name, values...), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		headers := pdkbridge.UnwrapHeaders(&got)
		if diff := cmp.Diff(values, slices.Clip(headers[name]), cmp.Transformer("nil", func(s []string) []string { return append([]string{}, s...) })); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestTextAndParts(t *testing.T) {
	arg, err := proto.Marshal(&kong_plugin_protocol.String{V: "abc"})
	if err != nil {
		t.Fatal(err)
	}
	if got := AppendText(nil, "abc"); !bytes.Equal(got, arg) {
		t.Errorf("AppendText writes %x, protobuf %x", got, arg)
	}
	if text, err := Text(arg); err != nil || string(text) != "abc" {
		t.Errorf("Text: %q, %v", text, err)
	}
	if _, err := Text([]byte{0x0a, 0x05, 'a'}); err == nil {
		t.Error("a string that is cut off was read")
	}
	if text := lenientString([]byte{0xff}); text != "" {
		t.Errorf("lenientString: %q", text)
	}
}

// FuzzFields compares with protobuf's own decoder wherever that takes the
// reply.
func FuzzFields(f *testing.F) {
	f.Add(AppendField(AppendField(nil, "a", "b"), "c", "d", "e"))
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(AppendField(nil, "caf\xe9", "\xff"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		got := map[string][]string{}
		var failed error
		for field, err := range Fields(reply) {
			if err != nil {
				failed = err
				break
			}
			got[string(field.Name)] = append(got[string(field.Name)], string(field.Value))
		}
		var s structpb.Struct
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(reply, &s); err != nil {
			return
		}
		if failed != nil {
			t.Fatalf("protobuf takes %x, Fields fails: %v", reply, failed)
		}
		for name, v := range s.GetFields() {
			if text, ok := v.GetKind().(*structpb.Value_StringValue); ok && utf8.ValidString(name) && !slices.Contains(got[name], text.StringValue) {
				t.Errorf("%q: %q is missing in %q", name, text.StringValue, got[name])
			}
		}
	})
}
