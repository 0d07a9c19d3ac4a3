package command

import (
	"errors"
	"fmt"

	"kong-vault-auth/control"
	"kong-vault-auth/kongadmin"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// The exit statuses, for scripts.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitDenied      = 5
	exitUnreachable = 6
)

const exitStatuses = `Exit status: 0 done, 1 failed, 2 the command line or the configuration is wrong, 3 there
is no such credential, consumer or secret, 4 it exists already or was changed meanwhile,
5 the store, Kong or this node refuses the login or the operation, 6 the store, Kong or the
plugin server of this node can't be reached or can't answer.`

// usageError is an error in the command line or in the environment.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitStatus is the exit status of a command that ran and failed.
func exitStatus(err error) int {
	var failure *secretstore.Failure
	var kong *kongadmin.Failure
	switch {
	case errors.Is(err, secretstore.ErrConfig), errors.As(err, new(usageError)),
		errors.Is(err, vault.ErrUnknownObject), errors.Is(err, control.ErrRequest), errors.Is(err, control.ErrNoBlocks):
		return exitUsage
	case errors.Is(err, kongadmin.ErrNoConsumer):
		return exitNotFound
	case errors.As(err, &kong) && kong.Refused:
		return exitDenied
	case errors.As(err, &kong):
		return exitUnreachable
	case secretstore.IsAbsent(err, secretstore.ReasonUnusable):
		return exitFailed
	case secretstore.IsAbsent(err, secretstore.ReasonDenied), errors.Is(err, vault.ErrForbidden), errors.Is(err, control.ErrRefused):
		return exitDenied
	case errors.As(err, new(*secretstore.Absent)):
		return exitNotFound
	case errors.As(err, new(*secretstore.Conflict)):
		return exitConflict
	case errors.As(err, &failure) && failure.Denied():
		return exitDenied
	case errors.As(err, &failure), errors.Is(err, control.ErrNotRunning), errors.Is(err, control.ErrNoAnswer):
		return exitUnreachable
	}
	return exitFailed
}
