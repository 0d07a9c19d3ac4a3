package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"kong-vault-auth/credential"
	"kong-vault-auth/kongadmin"
	"kong-vault-auth/manage"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// statusError is an error with a status code.
type statusError struct {
	status int
	error
}

func (e *statusError) Unwrap() error { return e.error }

func badRequest(format string, args ...any) error {
	return &statusError{http.StatusBadRequest, fmt.Errorf(format, args...)}
}

// unavailable is an error of this program's environment, not of a request.
func unavailable(err error) error { return &statusError{http.StatusServiceUnavailable, err} }

// statusOf is the status code of the answer for an error.
func statusOf(err error) int {
	var own *statusError
	var failure *secretstore.Failure
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &own):
		return own.status
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, vault.ErrFile):
		return http.StatusServiceUnavailable
	case errors.Is(err, vault.ErrNoObject), errors.Is(err, kongadmin.ErrNoConsumer):
		return http.StatusNotFound
	case errors.As(err, new(*credential.UnusableError)), errors.Is(err, manage.ErrDisabled):
		return http.StatusBadRequest
	case secretstore.IsAbsent(err, secretstore.ReasonDenied):
		return http.StatusForbidden
	case errors.As(err, new(*secretstore.Absent)):
		return http.StatusNotFound
	case errors.As(err, new(*secretstore.Conflict)), errors.Is(err, vault.ErrObjectExists):
		return http.StatusConflict
	case errors.Is(err, manage.ErrConsumerName), errors.Is(err, secretstore.ErrConfig):
		return http.StatusBadRequest
	case errors.As(err, &failure) && failure.Denied():
		return http.StatusForbidden
	case errors.As(err, &failure) && failure.OneName:
		return http.StatusBadGateway // the store, or a proxy in front of it, sent an unexpected answer
	case errors.As(err, &failure), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
