package pluginserver

import (
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

// fieldMap collects what appendFields finds, copied.
func fieldMap(t *testing.T, reply []byte) map[string][]string {
	t.Helper()
	m := map[string][]string{}
	fields, err := appendFields(nil, reply)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields {
		m[string(f.Name)] = append(m[string(f.Name)], string(f.Value))
	}
	return m
}

func TestHeadersAreReadAsKongSendsThem(t *testing.T) {
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

func TestValueStringsReadsWhatAValueHolds(t *testing.T) {
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
		got, err := valueStrings(reply)
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Error(name, err, diff)
		}
	}
	for _, reply := range []string{"\xff", "\x2a\x01\xff", "\x32\x01\xff"} {
		if got, err := valueStrings([]byte(reply)); err == nil {
			t.Errorf("%q holds %q", reply, got)
		}
	}
}

func TestFieldsThatAreNotUTF8AreKept(t *testing.T) {
	const name, value = "x-foo", "caf\xe9"
	if diff := cmp.Diff(map[string][]string{name: {value}}, fieldMap(t, appendHeader(nil, name, value))); diff != "" {
		t.Error(diff)
	}
}

func TestHeadersAreWrittenAsGoPDKReadsThem(t *testing.T) {
	for value, want := range map[string][]string{"": {}, "1": {"1"}, strings.Repeat("x", 300): {strings.Repeat("x", 300)}} {
		var got structpb.Struct
		if err := proto.Unmarshal(appendHeader(nil, "name", value), &got); err != nil {
			t.Fatalf("%q: %v", value, err)
		}
		headers := pdkbridge.UnwrapHeaders(&got)
		if diff := cmp.Diff(map[string][]string{"name": want}, headers); diff != "" {
			t.Error(diff)
		}
	}
}

func TestAStringThatIsCutOffIsNotRead(t *testing.T) {
	for _, message := range []string{"\x0a\x05a", "\xff", "\x12\x05a"} {
		if text, err := lastPart([]byte(message), 1); err == nil {
			t.Errorf("%q holds %q", message, text)
		}
	}
}

// What Kong says of a consumer goes back to Kong as it was, and a consumer without
// the fields that have names too.
func TestConsumersAreSentBackWhole(t *testing.T) {
	for name, want := range map[string]*kong_plugin_protocol.Consumer{
		"all":         {Id: "c", Username: "alice", CustomId: "a-1", CreatedAt: 1550538920, Tags: []string{"a", "b"}},
		"an id alone": {Id: "c"},
		"others":      {CreatedAt: 1, Tags: []string{""}},
	} {
		reply, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		c, err := decodeConsumer(nil, reply)
		if err != nil || c.ID != want.Id || c.Username != want.Username || c.CustomID != want.CustomId {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		clear(reply) // the event is over
		var got kong_plugin_protocol.Consumer
		if err := proto.Unmarshal(c.append(nil), &got); err != nil || !proto.Equal(want, &got) {
			t.Errorf("%s: %v became %v, %v", name, want, &got, err)
		}
	}
}

func TestWhatKongDoesNotKnowIsNil(t *testing.T) {
	if c, err := decodeConsumer(nil, nil); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
	if c, err := decodeCredential(nil, nil); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
	for _, reply := range []string{"\xff", "\x0a\x05a", "\x12\x05a"} {
		if c, err := decodeConsumer(nil, []byte(reply)); err == nil {
			t.Errorf("%q is the consumer %+v", reply, c)
		}
		if c, err := decodeCredential(nil, []byte(reply)); err == nil {
			t.Errorf("%q is the credential %+v", reply, c)
		}
		if b, err := decodeRawBody(nil, []byte(reply)); err == nil {
			t.Errorf("%q is the body %+v", reply, b)
		}
	}
}

func TestALargeBodysRoomIsNotKept(t *testing.T) {
	if buf := reuse(make([]byte, 3, 100)); len(buf) != 0 || cap(buf) != 100 {
		t.Errorf("%d of %d bytes", len(buf), cap(buf))
	}
	if buf := reuse(make([]byte, 1<<20)); cap(buf) != 0 {
		t.Errorf("%d bytes are kept", cap(buf))
	}
}

// FuzzHeaders compares with protobuf's own decoder wherever that takes the
// reply.
func FuzzHeaders(f *testing.F) {
	f.Add(appendHeader(appendHeader(nil, "a", "b"), "c", ""))
	f.Add([]byte("\x0a\x13\x0a\x01c\x12\x0e\x32\x0c\x0a\x04\x1a\x02de\x0a\x04\x1a\x02fg")) // a list
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(appendHeader(nil, "caf\xe9", "\xff"))
	f.Fuzz(func(t *testing.T, reply []byte) {
		got := map[string][]string{}
		fields, failed := appendFields(nil, reply)
		for _, field := range fields {
			got[string(field.Name)] = append(got[string(field.Name)], string(field.Value))
		}
		var s structpb.Struct
		if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(reply, &s); err != nil {
			return
		}
		if failed != nil {
			t.Fatalf("protobuf takes %x, appendFields fails: %v", reply, failed)
		}
		for name, v := range s.GetFields() {
			if text, ok := v.GetKind().(*structpb.Value_StringValue); ok && utf8.ValidString(name) && !slices.Contains(got[name], text.StringValue) {
				t.Errorf("%q: %q is missing in %q", name, text.StringValue, got[name])
			}
		}
	})
}
