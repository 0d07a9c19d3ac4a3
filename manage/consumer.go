package manage

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongadmin"
)

// ErrConsumerName is matched by the error of FindConsumer for a text that can't be a
// consumer's name.
var ErrConsumerName = errors.New("it must be an id, a username or a custom_id of a consumer")

// Found is a consumer that was named by its id, username or custom_id.
type Found struct {
	credential.Consumer
	Names   []string // its id and username, as far as they are known; see Entry.Of
	Checked bool     // Kong has it
}

// FindConsumer looks a consumer up in Kong by its id, username or custom_id. admin may be
// nil; then the name is taken for an id or a username.
func FindConsumer(ctx context.Context, admin *kongadmin.Client, name string) (*Found, error) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, ErrConsumerName
	}
	if admin == nil {
		c := credential.Consumer{Username: name}
		if uuid.Validate(name) == nil && len(name) == 36 {
			name = strings.ToLower(name)
			c = credential.Consumer{ID: name}
		}
		return &Found{Consumer: c, Names: []string{name}}, nil
	}
	found, err := admin.Consumer(ctx, name)
	if err != nil {
		return nil, err
	}
	return &Found{
		Consumer: credential.Consumer{ID: found.ID},
		Names:    []string{found.ID, found.Username},
		Checked:  true,
	}, nil
}
