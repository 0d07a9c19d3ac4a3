package command

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongadmin"
)

// consumer is a consumer as a command line names it.
type consumer struct {
	credential.Consumer
	names   []string // all that are known of it, for comparing
	checked bool     // Kong has it
}

// consumer looks a consumer up in Kong, if the environment says where.
func (p *Program) consumer(ctx context.Context, name string) (*consumer, error) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, usage("--consumer must be an id, a username or a custom_id of a consumer")
	}
	admin, err := kongadmin.New(p.Getenv)
	if err != nil {
		return nil, usage("%v", err)
	}
	if admin == nil {
		if uuid.Validate(name) == nil && len(name) == 36 {
			name = strings.ToLower(name)
			return &consumer{Consumer: credential.Consumer{ID: name}, names: []string{name}}, nil
		}
		return &consumer{Consumer: credential.Consumer{Username: name}, names: []string{name}}, nil
	}
	found, err := admin.Consumer(ctx, name)
	if err != nil {
		return nil, err
	}
	return &consumer{
		Consumer: credential.Consumer{ID: found.ID},
		names:    []string{found.ID, found.Username},
		checked:  true,
	}, nil
}

// note says whether Kong was asked.
func (c *consumer) note() string {
	if c.checked {
		return "found in Kong"
	}
	return "not checked: KONG_ADMIN_URL is not set"
}

// shown is the consumer in a table.
func shownConsumer(id, username string) string {
	switch {
	case id == "":
		return username
	case username == "":
		return id
	}
	return fmt.Sprintf("%s (%s)", username, id)
}
