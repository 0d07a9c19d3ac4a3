package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"kong-vault-auth/credential"
	"kong-vault-auth/credentialfile"
	"kong-vault-auth/kongadmin"
	"kong-vault-auth/manage"
)

// consumer looks a consumer up in Kong, if KONG_ADMIN_URL is set.
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

// shownConsumer is a consumer as a table shows it.
func shownConsumer(id, username string) string {
	switch {
	case id == "":
		return username
	case username == "":
		return id
	}
	return fmt.Sprintf("%s (%s)", username, id)
}

// finder looks up the consumers that the records of an import name: in a decK dump, in
// Kong, in both, or not at all. It is safe for concurrent use.
type finder struct {
	dump  credentialfile.Consumers // nil: none was given
	admin *kongadmin.Client        // nil: KONG_ADMIN_URL is not set
	mu    sync.Mutex
	known map[string]found // guarded by mu
}

type found struct {
	consumer credential.Consumer
	err      error
}

// maxKnown limits how many consumers are kept.
const maxKnown = 20_000

// finder makes a finder. dump is the file of the decK dump; it may be empty.
func (p *Program) finder(dump string) (*finder, error) {
	admin, err := kongadmin.New(p.Getenv)
	if err != nil {
		return nil, usageError{err}
	}
	f := &finder{admin: admin, known: map[string]found{}}
	if dump == "" {
		return f, nil
	}
	file, err := os.Open(dump)
	if err != nil {
		return nil, usageError{fmt.Errorf("--consumers: %w", err)}
	}
	defer file.Close()
	if f.dump, err = credentialfile.ReadConsumers(file); err != nil {
		return nil, usage("--consumers: %s: %v", dump, err)
	}
	return f, nil
}

// checked reports whether consumers are looked up.
func (f *finder) checked() bool { return f.dump != nil || f.admin != nil }

var errNotInDump = errors.New("the decK dump of --consumers has no such consumer")

// find is manage.Bulk's Consumer.
func (f *finder) find(ctx context.Context, c credential.Consumer) (credential.Consumer, error) {
	name := cmp.Or(c.ID, c.Username)
	if f.dump != nil {
		inDump, is := f.dump[name]
		if !is {
			return c, fmt.Errorf("consumer %q: %w", name, errNotInDump)
		}
		if inDump.ID != "" {
			inDump.Username = ""
		}
		c, name = inDump, cmp.Or(inDump.ID, inDump.Username)
	}
	if f.admin == nil {
		return c, nil
	}
	return f.ask(ctx, name)
}

// ask looks a consumer up in Kong, once.
func (f *finder) ask(ctx context.Context, name string) (credential.Consumer, error) {
	f.mu.Lock()
	answer, known := f.known[name]
	f.mu.Unlock()
	if known {
		return answer.consumer, answer.err
	}
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return credential.Consumer{}, fmt.Errorf("%w: its name holds control characters", kongadmin.ErrNoConsumer)
	}
	inKong, err := f.admin.Consumer(ctx, name)
	switch {
	case err == nil:
		answer.consumer.ID = inKong.ID
	case errors.Is(err, kongadmin.ErrNoConsumer):
		answer.err = err
	default:
		return credential.Consumer{}, &manage.StopError{Err: err}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= maxKnown {
		clear(f.known)
	}
	f.known[name] = answer
	return answer.consumer, answer.err
}
