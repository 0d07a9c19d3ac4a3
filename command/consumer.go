package command

import (
	"context"
	"errors"
	"fmt"

	"kong-vault-auth/kongadmin"
	"kong-vault-auth/manage"
)

// consumer looks a consumer up in Kong, if the environment says where.
func (p *Program) consumer(ctx context.Context, name string) (*manage.Found, error) {
	admin, err := kongadmin.New(p.Getenv)
	if err != nil {
		return nil, usage("%v", err)
	}
	found, err := manage.FindConsumer(ctx, admin, name)
	if errors.Is(err, manage.ErrConsumerName) {
		return nil, usage("--consumer: %v", err)
	}
	return found, err
}

// consumerNote says whether Kong was asked.
func consumerNote(c *manage.Found) string {
	if c.Checked {
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
