package kongschema

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

type seconds float64

type limits struct {
	TTL seconds `json:"ttl" kong:"default=60;between=0,1e8" doc:"Seconds a credential is kept."`
}

type server struct {
	Host  string `json:"host" kong:"required;default=127.0.0.1;len_min=1" doc:"Where the server is."`
	Port  int    `json:"port" kong:"default=8200;between=1,65535" doc:"Port of the server."`
	Token string `json:"token" kong:"referenceable;encrypted" doc:"Token for the server."`
	limits
}

func (server) EntityChecks() []any {
	return []any{map[string]any{"only_one_of": []string{"host", "token"}}}
}

type config struct {
	Name     string   `json:"name,omitempty" kong:"match=^[%w_-]+$" doc:"Name of the thing."`
	Mode     string   `json:"mode" kong:"default=a;one_of=a|b" doc:"Mode of the thing."`
	Verify   bool     `json:"verify" kong:"default=true" doc:"Whether to verify."`
	Quiet    bool     `json:"quiet" doc:"Whether to be quiet."`
	Methods  []string `json:"methods" kong:"default=GET|PUT;one_of=GET|PUT|POST;len_min=1" doc:"Methods that pass."`
	Server   *server  `json:"server" doc:"The server, if any."`
	Required *server  `json:"other" kong:"required" doc:"The other server."`
	Ignored  any      `json:"-"`
	private  int
}

func ptr[T any](v T) *T { return &v }

func TestFields(t *testing.T) {
	serverFields := []Field{
		{Name: "host", Kind: String, Doc: "Where the server is.", Required: true, Default: "127.0.0.1", LenMin: ptr(1)},
		{Name: "port", Kind: Integer, Doc: "Port of the server.", Default: 8200, Between: &[2]float64{1, 65535}},
		{Name: "token", Kind: String, Doc: "Token for the server.", Referenceable: true, Encrypted: true},
		{Name: "ttl", Kind: Number, Doc: "Seconds a credential is kept.", Default: 60.0, Between: &[2]float64{0, 1e8}},
	}
	want := []Field{
		{Name: "name", Kind: String, Doc: "Name of the thing.", Match: "^[%w_-]+$"},
		{Name: "mode", Kind: String, Doc: "Mode of the thing.", Default: "a", OneOf: []string{"a", "b"}},
		{Name: "verify", Kind: Boolean, Doc: "Whether to verify.", Default: true},
		{Name: "quiet", Kind: Boolean, Doc: "Whether to be quiet."},
		{Name: "methods", Kind: Array, Doc: "Methods that pass.", Default: []string{"GET", "PUT"}, OneOf: []string{"GET", "PUT", "POST"}, LenMin: ptr(1)},
		{Name: "server", Kind: Record, Doc: "The server, if any.", Nested: serverFields},
		{Name: "other", Kind: Record, Doc: "The other server.", Required: true, Nested: serverFields},
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[config](), reflect.TypeFor[*config]()} {
		got, err := Fields(typ)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Field{})); diff != "" {
			t.Error(diff)
		}
	}
}

type loop struct {
	Next *loop `json:"next" doc:"The next of its kind."`
}

type twice struct {
	limits
	Other seconds `json:"ttl" doc:"A second field named ttl."`
}

// What Kong's schema can't hold must fail at once, not vanish from it.
func TestFieldsRefusesWhatKongCannotHold(t *testing.T) {
	tests := []struct {
		config any
		want   string // part of the error
	}{
		{nil, "not a struct"},
		{7, "not a struct"},
		{ptr(7), "not a struct"},
		{loop{}, "contains itself"},
		{twice{}, "two fields named ttl"},
		{struct{ *limits }{}, "can't be embedded"},
		{struct {
			limits `json:"limits"`
		}{}, "takes no tags"},
		{struct{ A string }{}, `json name ""`},
		{struct {
			A string `json:"Upper" doc:"Ten characters."`
		}{}, `json name "Upper"`},
		{struct {
			A string `json:"a-b" doc:"Ten characters."`
		}{}, `json name "a-b"`},
		{struct {
			A int `json:"a,string" doc:"Ten characters."`
		}{}, `option "string"`},
		{struct {
			A string `json:"a" doc:"Too short"`
		}{}, "9 characters"},
		{struct {
			A string `json:"a"`
		}{}, "0 characters"},
		{struct {
			A int64 `json:"a" doc:"Ten characters."`
		}{}, "int64"},
		{struct {
			A any `json:"a" doc:"Ten characters."`
		}{}, "interface"},
		{struct {
			A func() `json:"a" doc:"Ten characters."`
		}{}, "func()"},
		{struct {
			A float32 `json:"a" doc:"Ten characters."`
		}{}, "float32"},
		{struct {
			A limits `json:"a" doc:"Ten characters."`
		}{}, "pointer to a struct"},
		{struct {
			A []int `json:"a" doc:"Ten characters."`
		}{}, "[]int"},
		{struct {
			A map[string]int `json:"a" doc:"Ten characters."`
		}{}, "map[string]int"},
		{struct {
			A *string `json:"a" doc:"Ten characters."`
		}{}, "*string"},
		{struct {
			A *struct {
				B string `json:"b" kong:"len_min" doc:"Ten characters."`
			} `json:"a" doc:"Ten characters."`
		}{}, "field A of struct"},
	}
	for _, tt := range tests {
		got, err := Fields(reflect.TypeOf(tt.config))
		if err == nil || got != nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Fields(%T) = %v, %v; want an error with %q", tt.config, got, err, tt.want)
		}
	}
}

func TestLongestDescription(t *testing.T) {
	for length, ok := range map[int]bool{10: true, 500: true, 501: false} {
		typ := reflect.StructOf([]reflect.StructField{{
			Name: "A", Type: reflect.TypeFor[string](),
			Tag: reflect.StructTag(`json:"a" doc:"` + strings.Repeat("\u00e9", length) + `"`),
		}})
		if _, err := Fields(typ); (err == nil) != ok {
			t.Errorf("a description of %d characters: %v", length, err)
		}
	}
}
