package command

import (
	"errors"

	"kong-vault-auth/control"
	"kong-vault-auth/secretstore"
)

// The exit statuses, for scripts.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitDenied      = 5
	exitUnreachable = 6
)

const exitStatuses = `Exit status: 0 done, 1 failed, 2 the command line or a vault object's configuration
is wrong, 3 there is no such credential, 4 it exists already or was changed meanwhile,
5 the store refuses the login or the operation, 6 the store, or the plugin
server of this node, can't be reached or can't answer.`

// exitStatus is that of a command that ran and failed.
func exitStatus(err error) int {
	var absent *secretstore.Absent
	var failure *secretstore.Failure
	switch {
	case errors.Is(err, secretstore.ErrConfig):
		return exitUsage
	case errors.As(err, &absent):
		return exitNotFound
	case errors.As(err, &failure) && failure.Denied():
		return exitDenied
	case errors.As(err, &failure), errors.Is(err, control.ErrNotRunning):
		return exitUnreachable
	}
	return exitFailed
}
