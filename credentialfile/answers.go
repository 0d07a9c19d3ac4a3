package credentialfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// answers reads Kong Enterprise's answers, one after the other: objects whose member data
// is a list of credentials or, in the answer to its creation, one credential.
type answers struct {
	in      *bounded
	dec     *json.Decoder
	n       int  // credentials so far
	inPage  bool // between the braces of an answer
	inData  bool // between the brackets of its data
	another bool // the last answer names a next page
}

func newAnswers(in io.Reader) *answers {
	b := &bounded{in: in}
	return &answers{in: b, dec: json.NewDecoder(b)}
}

var errNextPage = errors.New("the last answer names a next page, so these are not all: get that one as well, and add it to the file")

// Next implements Reader.
func (a *answers) Next() (Row, error) {
	for {
		a.in.left = maxRow
		var raw json.RawMessage
		var err error
		switch {
		case a.inData:
			raw, err = a.element()
		case a.inPage:
			raw, err = a.member()
		default:
			err = a.page()
		}
		switch {
		case err != nil:
			return Row{}, a.explain(err)
		case raw != nil:
			a.n++
			return row(fmt.Sprintf("credential %d", a.n), raw), nil
		}
	}
}

// page reads the beginning of an answer.
func (a *answers) page() error {
	t, err := a.dec.Token()
	switch {
	case err == io.EOF && a.another:
		return errNextPage
	case err != nil:
		return err
	case t != json.Delim('{'):
		return errNotAnswer
	}
	a.inPage, a.another = true, false
	return nil
}

// member reads a member of an answer. It returns a single credential.
func (a *answers) member() (json.RawMessage, error) {
	t, err := a.dec.Token()
	if err != nil {
		return nil, err
	}
	if t == json.Delim('}') {
		a.inPage = false
		return nil, nil
	}
	if t == "data" {
		return a.data()
	}
	var value json.RawMessage
	if err := a.dec.Decode(&value); err != nil {
		return nil, err
	}
	if t == "next" {
		a.another = string(value) != "null" && string(value) != `""`
	}
	return nil, nil
}

// data reads the beginning of a list of credentials, or a single credential.
func (a *answers) data() (json.RawMessage, error) {
	t, err := a.dec.Token()
	switch {
	case err != nil:
		return nil, err
	case t == json.Delim('['):
		a.inData = true
		return nil, nil
	case t != json.Delim('{'):
		return nil, errNotAnswer
	}
	// The decoder has consumed the brace, so the members are put together again.
	object := []byte("{")
	for a.dec.More() {
		name, err := a.dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := a.dec.Decode(&value); err != nil {
			return nil, err
		}
		if len(object) > 1 {
			object = append(object, ',')
		}
		quoted, _ := json.Marshal(name) // a string, as More was true
		object = append(append(append(object, quoted...), ':'), value...)
	}
	_, err = a.dec.Token()
	return append(object, '}'), err
}

func (a *answers) element() (json.RawMessage, error) {
	if !a.dec.More() {
		a.inData = false
		_, err := a.dec.Token()
		return nil, err
	}
	var value json.RawMessage
	err := a.dec.Decode(&value)
	return value, err
}

var errNotAnswer = errors.New("it is not an answer of Kong Enterprise's, an object with the field data")

// explain adds where an error was. It replaces the decoder's errors, which may contain a
// piece of the file.
func (a *answers) explain(err error) error {
	var syntax *json.SyntaxError
	switch {
	case err == io.EOF && !a.inPage, errors.Is(err, errNextPage):
		return err
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it is not valid JSON, so the rest can't be read")
	}
	return fmt.Errorf("after credential %d: %w", a.n, err)
}
