package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// fields are the fields of a request's body. Those of a form are strings, or lists of
// strings where a field is repeated.
type fields map[string]any

// maxFields limits the fields of a form.
const maxFields = 200

// body reads a request's fields, and refuses those that aren't known. The body may be
// missing.
func (r *request) body(known ...string) (fields, error) {
	f, err := r.read()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if !slices.Contains(known, name) {
			return nil, badRequest("%.60q is not a field here; the fields are %s", name, strings.Join(known, ", "))
		}
	}
	return f, nil
}

func (r *request) read() (fields, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case r.Header.Get("Content-Type") == "":
		b, err := io.ReadAll(r.Body)
		if err == nil && len(b) > 0 {
			err = unsupported()
		}
		return fields{}, err
	case err != nil:
		return nil, unsupported()
	case kind == "application/json":
		return r.readJSON()
	case kind == "application/x-www-form-urlencoded":
		err = r.ParseForm()
	case kind == "multipart/form-data":
		err = r.ParseMultipartForm(maxBody)
	default:
		return nil, unsupported()
	}
	switch {
	case err != nil && errors.As(err, new(*http.MaxBytesError)):
		return nil, err
	case err != nil:
		return nil, badRequest("the body can't be read as %s", kind)
	}
	return formFields(r)
}

func unsupported() error {
	return &statusError{http.StatusUnsupportedMediaType, errors.New("the body must be application/json, application/x-www-form-urlencoded or multipart/form-data")}
}

func (r *request) readJSON() (fields, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return fields{}, nil
	}
	var f fields
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.UseNumber()
	if err := d.Decode(&f); err != nil || f == nil || d.More() {
		return nil, badRequest("the body is not a JSON object")
	}
	return f, nil
}

// formFields are those of a form. A field consumer.id, or consumer[id], is the id of
// consumer, and groups[] is one of the groups.
func formFields(r *request) (fields, error) {
	if len(r.PostForm) > maxFields || r.MultipartForm != nil && len(r.MultipartForm.File) > 0 {
		return nil, badRequest("the form has too many fields, or a file")
	}
	values := r.PostForm
	if r.MultipartForm != nil {
		values = r.MultipartForm.Value
		defer func() { _ = r.MultipartForm.RemoveAll() }() // it has no files
	}
	f := fields{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		given := values[name]
		name, isList := strings.CutSuffix(name, "[]")
		var value any = given[0]
		if isList || len(given) > 1 {
			list := make([]any, len(given))
			for i := range given {
				list[i] = given[i]
			}
			value = list
		}
		outer, inner, nested := strings.Cut(strings.NewReplacer("[", ".", "]", "").Replace(name), ".")
		if !nested {
			f[name] = value
			continue
		}
		members, _ := f[outer].(map[string]any)
		if members == nil {
			members = map[string]any{}
			f[outer] = members
		}
		members[inner] = value
	}
	return f, nil
}

// text is a field as text; null is empty text. given is false if the field is missing.
func (f fields) text(name string) (text string, given bool, err error) {
	v, given := f[name]
	switch v := v.(type) {
	case nil:
		return "", given, nil
	case string:
		return v, true, nil
	case json.Number:
		return v.String(), true, nil
	case bool:
		return fmt.Sprint(v), true, nil
	}
	return "", true, badRequest("%s must be a single value", name)
}

// parseFlag parses a field, or a parameter of the query, that is true or false.
func parseFlag(text string) (bool, error) {
	switch text {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	}
	return false, errors.New("it must be true or false")
}

func (f fields) flag(name string) (bool, error) {
	text, _, err := f.text(name)
	if err != nil {
		return false, err
	}
	set, err := parseFlag(text)
	if err != nil {
		return false, badRequest("%s: %w", name, err)
	}
	return set, nil
}

// parameter is a parameter of the query that is true or false.
func (r *request) parameter(name string) (bool, error) {
	set, err := parseFlag(r.URL.Query().Get(name))
	if err != nil {
		return false, badRequest("%s: %w", name, err)
	}
	return set, nil
}
