package admin

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/manage"
	"kong-vault-auth/vault"
)

// defaultKind is the kind of a vault object if a body doesn't name one. In Kong
// Enterprise, all are of this kind.
const defaultKind = "hcv"

// objectBody is a vault object as an answer shows it: its own fields and those of its
// configuration on one level, as in Kong Enterprise, without secrets.
func (s *Server) objectBody(o vault.Stored) map[string]any {
	b := map[string]any{}
	for _, f := range s.fieldsOf(o.Kind) {
		if v, set := o.Config[f.Name]; set {
			b[f.Name] = v
		} else if slices.Contains([]string{"protocol", "host", "port", "mount"}, f.Name) {
			b[f.Name] = f.Default
		}
	}
	b["id"], b["name"], b["kind"] = o.ID, o.Name, o.Kind
	if o.Description != "" {
		b["description"] = o.Description
	}
	for name, t := range map[string]time.Time{"created_at": o.CreatedAt, "updated_at": o.UpdatedAt} {
		b[name] = nil
		if !t.IsZero() {
			b[name] = t.Unix()
		}
	}
	return b
}

// fieldsOf are the fields of a kind's configuration.
func (s *Server) fieldsOf(kind string) []kongschema.Field {
	for _, k := range s.Kinds {
		if k.Name == kind {
			fields, _ := kongschema.Fields(reflect.TypeOf(k.New())) // can't fail for the settings of a store, as its tests show
			return fields
		}
	}
	return nil
}

var errNoFile = errors.New("vault objects are kept in a vaults file: start this program, and the plugin server, with its path in VAULT_AUTH_VAULTS_FILE")

// objects is the vaults file.
func (s *Server) objects() (*vault.ObjectFile, error) {
	if s.file == nil {
		return nil, unavailable(errNoFile)
	}
	return s.file, nil
}

func (s *Server) listObjects(*request) (int, any, error) {
	body := listBody[map[string]any]{Data: []map[string]any{}}
	file, err := s.objects()
	if err != nil {
		return 0, nil, err
	}
	all, err := file.Objects()
	if err != nil {
		return 0, nil, err
	}
	for _, o := range all {
		body.Data = append(body.Data, s.objectBody(o))
	}
	return http.StatusOK, body, nil
}

// named is the object whose name or id is in the path.
func (s *Server) named(r *request) (*vault.ObjectFile, vault.Stored, error) {
	file, err := s.objects()
	if err != nil {
		return nil, vault.Stored{}, err
	}
	o, err := file.Object(r.PathValue("vault"))
	if err != nil {
		return file, o, err
	}
	r.change.vault = o.Name
	return file, o, nil
}

func (s *Server) showObject(r *request) (int, any, error) {
	_, o, err := s.named(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, s.objectBody(o), nil
}

func (s *Server) createObject(r *request) (int, any, error) {
	r.change.action = "vault.create"
	file, err := s.objects()
	if err != nil {
		return 0, nil, err
	}
	e, err := s.edit(r, nil)
	if err != nil {
		return 0, nil, err
	}
	return s.created(r, file, e)
}

func (s *Server) created(r *request, file *vault.ObjectFile, e *vault.Edit) (int, any, error) {
	if e.Name == "" {
		return 0, nil, badRequest("name is required: letters in lower case, digits and -, as in kong-auth")
	}
	o, err := file.Create(*e, s.Now())
	if err != nil {
		return 0, nil, err
	}
	s.changedVaults(r)
	return http.StatusCreated, s.objectBody(o), nil
}

func (s *Server) patchObject(r *request) (int, any, error) {
	r.change.action = "vault.update"
	file, o, err := s.named(r)
	if err != nil {
		return 0, nil, err
	}
	return s.updated(r, file, o, false)
}

func (s *Server) updated(r *request, file *vault.ObjectFile, o vault.Stored, replace bool) (int, any, error) {
	e, err := s.edit(r, &o)
	if err != nil {
		return 0, nil, err
	}
	e.Replace = replace
	if replace && e.Description == nil {
		e.Description = new(string)
	}
	if o, err = file.Update(*e, s.Now()); err != nil {
		return 0, nil, err
	}
	s.changedVaults(r)
	return http.StatusOK, s.objectBody(o), nil
}

// putObject replaces an object, or creates one with the name or id in the path.
func (s *Server) putObject(r *request) (int, any, error) {
	r.change.action = "vault.update"
	file, o, err := s.named(r)
	switch {
	case errors.Is(err, vault.ErrNoObject):
	case err != nil:
		return 0, nil, err
	default:
		return s.updated(r, file, o, true)
	}
	r.change.action = "vault.create"
	e, err := s.edit(r, nil)
	if err != nil {
		return 0, nil, err
	}
	path := r.PathValue("vault")
	if uuid.Validate(path) == nil && len(path) == 36 {
		e.ID = strings.ToLower(path)
	} else if e.Name = cmp.Or(e.Name, path); e.Name != path {
		return 0, nil, badRequest("name differs from the one in the path")
	}
	return s.created(r, file, e)
}

// edit is the change that a body describes. old is nil for an object that doesn't exist
// yet.
func (s *Server) edit(r *request, old *vault.Stored) (*vault.Edit, error) {
	f, err := r.read()
	if err != nil {
		return nil, err
	}
	e := &vault.Edit{Kind: defaultKind, Fields: map[string]string{}}
	if old != nil {
		e.Name, e.Kind = old.Name, old.Kind
	}
	texts := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(f)) {
		if texts[name], _, err = f.text(name); err != nil {
			return nil, err
		}
	}
	if name := cmp.Or(r.PathValue("vault"), texts["name"]); old == nil && vault.IsObjectName(name) {
		r.change.vault = name // for the audit line, even if the rest is refused
	}
	e.Kind = cmp.Or(texts["kind"], e.Kind)
	known := []string{"name", "kind", "description"}
	for _, field := range s.fieldsOf(e.Kind) {
		known = append(known, field.Name)
	}
	if token, given := texts["vault_token"]; given && e.Kind == defaultKind {
		if other, both := texts["token"]; both && other != token {
			return nil, badRequest("vault_token and token are the same field: give one of them")
		}
		delete(texts, "vault_token")
		texts["token"] = token
	}
	for name, text := range texts {
		switch {
		case !slices.Contains(known, name):
			return nil, badRequest("%.60q is not a field of a vault object of the kind %.20q; the fields are %s", name, e.Kind, strings.Join(known, ", "))
		case name == "name" && old != nil && text != old.Name:
			return nil, badRequest("name can't be changed: create another vault object")
		case name == "name":
			e.Name = text
		case name == "description":
			e.Description = &text
		case name != "kind":
			e.Fields[name] = text
		}
	}
	return e, nil
}

// deleteObject deletes an object that nothing uses, or any with ?force=true.
func (s *Server) deleteObject(r *request) (int, any, error) {
	r.change.action = "vault.delete"
	force, err := r.parameter("force")
	if err != nil {
		return 0, nil, err
	}
	file, o, err := s.named(r)
	if err != nil {
		return 0, nil, err
	}
	if !force {
		if err := s.unused(r, o.Name); err != nil {
			return 0, nil, err
		}
	}
	if err := file.Delete(o.Name); err != nil {
		return 0, nil, err
	}
	s.changedVaults(r)
	return http.StatusNoContent, nil, nil
}

// unused returns an error if a plugin configuration or a credential uses the object, or
// if that can't be determined.
func (s *Server) unused(r *request, name string) error {
	const remedy = "?force=true deletes the vault object anyway"
	admin, err := s.kong()
	if err != nil {
		return err
	}
	if admin != nil {
		users, err := admin.PluginsOfVault(r.Context(), name)
		switch {
		case err != nil:
			return ofKong(fmt.Errorf("%w; %s", err, remedy))
		case len(users) > 0:
			return &statusError{http.StatusConflict, fmt.Errorf("%s is used by these plugin configurations: %s; %s", name, strings.Join(users, ", "), remedy)}
		}
	}
	return s.with(r, func(v *manage.Vault) error {
		empty, err := v.Empty(r.Context())
		switch {
		case err != nil:
			return fmt.Errorf("%w; %s", err, remedy)
		case !empty:
			return &statusError{http.StatusConflict, fmt.Errorf("the store of %s holds credentials: delete them first; %s", name, remedy)}
		}
		return nil
	})
}
