// Package admin stands in for the Google Workspace directory API, which only
// the JWT auth method's Google Workspace provider uses.
package admin

import (
	"context"
	"encoding/json"
	"errors"
)

const (
	AdminDirectoryGroupReadonlyScope = "STUB_AdminDirectoryGroupReadonlyScope"
	AdminDirectoryUserReadonlyScope  = "STUB_AdminDirectoryUserReadonlyScope"
)

var errNotBuiltIn = errors.New("Google Workspace is not built in")

type Service struct {
	Groups groupsService
	Users  usersService
}

func NewService(context.Context, ...any) (*Service, error) { return nil, errNotBuiltIn }

type Group struct{ Email string }

type Groups struct{ Groups []*Group }

type groupsService struct{}

func (groupsService) List() groupsList { return groupsList{} }

type groupsList struct{}

func (l groupsList) UserKey(string) groupsList   { return l }
func (l groupsList) Domain(string) groupsList    { return l }
func (l groupsList) Fields(...string) groupsList { return l }
func (groupsList) Pages(context.Context, func(*Groups) error) error {
	return errNotBuiltIn
}

type User struct{ CustomSchemas map[string]json.RawMessage }

type usersService struct{}

func (usersService) Get(string) usersGet { return usersGet{} }

type usersGet struct{}

func (g usersGet) Context(context.Context) usersGet { return g }
func (g usersGet) Projection(string) usersGet       { return g }
func (g usersGet) CustomFieldMask(string) usersGet  { return g }
func (g usersGet) Fields(...string) usersGet        { return g }
func (usersGet) Do() (*User, error)                 { return nil, errNotBuiltIn }
