package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Reference is a reference to a secret,
//
//	{vault://VAULT/RESOURCE[/KEY][?OPTIONS][#VERSION]}
//
// read as Kong reads it: of several segments the last one is the key, unless a slash
// follows it. Empty segments don't count. A slash inside a name is written %2F.
type Reference struct {
	Vault    string // the name of a kind of vault, or a vault object's prefix
	Resource string
	Key      string // empty: the whole secret
	Options  url.Values
	Version  int // 0: not given
}

var errReference = errors.New("the reference can't be read; it should look like {vault://VAULT/SECRET/KEY}")

// ParseReference parses a reference. Its errors don't repeat the text.
func ParseReference(text string) (Reference, error) {
	var r Reference
	rest, isReference := strings.CutPrefix(text, "{vault://")
	rest, ends := strings.CutSuffix(rest, "}")
	if !isReference || !ends {
		return r, errReference
	}
	rest, version, hasVersion := strings.Cut(rest, "#")
	rest, options, _ := strings.Cut(rest, "?")
	var err error
	if hasVersion {
		if r.Version, err = strconv.Atoi(version); err != nil || r.Version < 0 {
			return r, errors.New("the reference's version, after #, must be a number")
		}
	}
	if r.Options, err = url.ParseQuery(options); err != nil {
		return r, errReference
	}
	r.Vault, rest, _ = strings.Cut(rest, "/")
	var segments []string
	for segment := range strings.SplitSeq(rest, "/") {
		if segment == "" {
			continue
		}
		if segment, err = url.QueryUnescape(segment); err != nil {
			return r, errReference
		}
		segments = append(segments, segment)
	}
	if r.Vault == "" || len(segments) == 0 {
		return r, errReference
	}
	if last := len(segments) - 1; last > 0 && !strings.HasSuffix(rest, "/") {
		segments, r.Key = segments[:last], segments[last]
	}
	r.Resource = strings.Join(segments, "/")
	return r, nil
}

// Of returns what the reference selects from the value of a secret: all of it, or the
// string that its JSON object has under Key. Errors have Kong's words, and don't repeat
// the value.
func (r *Reference) Of(value string) (string, error) {
	if r.Key == "" {
		return value, nil
	}
	var object map[string]any
	if json.Unmarshal([]byte(value), &object) != nil {
		return "", errors.New("could not get subfield value: the secret is not a JSON object")
	}
	field, found := object[r.Key]
	text, isText := field.(string)
	switch {
	case !found:
		return "", fmt.Errorf("could not get subfield value: subfield %s not found in JSON secret", r.Key)
	case !isText:
		return "", fmt.Errorf("could not get subfield value: unexpected value in JSON secret for subfield %s, it must be a string", r.Key)
	case text == "":
		return "", fmt.Errorf("could not get subfield value: subfield %s in JSON secret is empty", r.Key)
	}
	return text, nil
}
