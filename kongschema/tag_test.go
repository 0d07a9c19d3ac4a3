package kongschema

import (
	"strings"
	"testing"
)

func TestTagsThatSayNothingSensible(t *testing.T) {
	tests := []struct {
		kind Kind
		tag  string
		want string // part of the error
	}{
		{String, "requierd", `"requierd" is unknown`},
		{String, "required;", `"" is unknown`},
		{String, " required", `" required" is unknown`},
		{String, "required;required", "given twice"},
		{String, "required=true", "takes no value"},
		{String, "one_of", "needs a value"},
		{String, "between=1,2", "does not apply to type string"},
		{Integer, "len_min=1", "does not apply to type integer"},
		{Number, "match=.", "does not apply to type number"},
		{Boolean, "referenceable", "does not apply to type boolean"},
		{Integer, "encrypted", "does not apply to type integer"},
		{Record, "default=a", "does not apply to type record"},
		{String, "len_min=-1", "not a length"},
		{String, "len_min=", "not a length"},
		{Integer, "between=1", "not LOW,HIGH"},
		{Integer, "between=2,1", "not LOW,HIGH"},
		{Integer, "between=1,2,3", "not LOW,HIGH"},
		{Number, "between=NaN,1", "not LOW,HIGH"},
		{Number, "between=0,Inf", "not LOW,HIGH"},
		{Boolean, "default=maybe", "default=maybe"},
		{Integer, "default=1.5", "default=1.5"},
		{Number, "default=NaN", "default=NaN"},
		{Number, "default=a", "default=a"},
		{Integer, "default=0;between=1,2", "not between 1 and 2"},
		{Number, "between=1,2;default=3", "not between 1 and 2"},
		{String, "default=c;one_of=a|b", "not one of a, b"},
		{String, "default=;len_min=1", "shorter"},
		{Array, "default=a|c;one_of=a|b", "not one of a, b"},
		{Array, "default=a;len_min=2", "shorter"},
	}
	for _, tt := range tests {
		f := Field{Kind: tt.kind}
		if err := f.parseTag(tt.tag); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("kong:%q on a %s: %v, want an error with %q", tt.tag, tt.kind, err, tt.want)
		}
	}
}

func FuzzTag(f *testing.F) {
	f.Add("required;default=a;one_of=a|b;len_min=1")
	f.Add("default=1;between=0,1e8")
	f.Fuzz(func(t *testing.T, tag string) {
		for _, kind := range []Kind{String, Boolean, Integer, Number, Array, Record} {
			field := Field{Kind: kind}
			_ = field.parseTag(tag) // must not panic
		}
	})
}
