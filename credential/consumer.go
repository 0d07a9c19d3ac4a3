package credential

import (
	"encoding/json"
	"strings"

	"github.com/google/uuid"
)

// consumer reads a record's consumer: an object with id or username, a bare id or
// username, or either of these as JSON in a string.
func (o object) consumer() (Consumer, error) {
	raw, found := o["consumer"]
	if !found {
		return Consumer{}, unusableConsumer("it is missing")
	}
	s, isText := asText(raw)
	if !isText {
		return consumerObject(raw)
	}
	switch inner := json.RawMessage(strings.TrimSpace(s)); {
	case strings.HasPrefix(string(inner), "{"):
		return consumerObject(inner)
	case strings.HasPrefix(string(inner), `"`):
		if s, isText = asText(inner); !isText {
			return Consumer{}, unusableConsumer("it is not valid JSON")
		}
	}
	return bareConsumer(withoutLineEnd(s))
}

func unusableConsumer(detail string) error {
	return &UnusableError{"consumer", detail, `write {"id": "…"} or {"username": "…"}, as Kong knows the consumer`}
}

func consumerObject(raw json.RawMessage) (Consumer, error) {
	o, err := parseObject(raw)
	if err != nil {
		return Consumer{}, unusableConsumer(err.(*UnusableError).Detail)
	}
	id, idOK := o.text("id")
	username, usernameOK := o.text("username")
	switch {
	case !idOK || id != "" && !isUUID(id):
		return Consumer{}, unusableConsumer("its id is not a UUID")
	case id != "":
		return withID(id), nil
	case !usernameOK:
		return Consumer{}, unusableConsumer("its username is not a string")
	}
	return withUsername(username)
}

func bareConsumer(s string) (Consumer, error) {
	if isUUID(s) {
		return withID(s), nil
	}
	return withUsername(s)
}

// withID writes the id in lower case, as Kong does: without a database, Kong compares ids
// byte by byte.
func withID(id string) Consumer { return Consumer{ID: strings.ToLower(id)} }

func withUsername(s string) (Consumer, error) {
	if s == "" {
		return Consumer{}, unusableConsumer("it has neither id nor username")
	}
	return Consumer{Username: s}, nil
}

// isUUID accepts only the form that Kong accepts as a UUID. uuid.Validate alone would also
// accept braces and URNs.
func isUUID(s string) bool { return len(s) == 36 && uuid.Validate(s) == nil }
