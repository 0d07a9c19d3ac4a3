package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"go.yaml.in/yaml/v3"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/schema"
)

// configuration is the contents of a declarative file.
type configuration struct {
	routes    []*routeEntity
	consumers kongtest.ConsumerList
	keys      map[string]keyCredential // key-auth's, by key
	groups    map[string][]any         // acl's, by the consumer's id
	plugins   []*pluginEntity
}

// pluginEntity is one configuration of a plugin and where it applies.
type pluginEntity struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Instance string `json:"instance_name"`
	Enabled  bool   `json:"enabled"`

	route, service, consumer string         // ids; empty applies to all
	config                   map[string]any // with defaults and references resolved
}

type keyCredential struct{ id, consumer string }

// loader turns the text of a declarative file into a configuration.
type loader struct {
	schemas map[string]*schema.Schema // of entities
	plugins map[string]*plugin        // by name
	getenv  func(string) (string, bool)
	notice  func(string)

	entities map[string][]map[string]any // filled and validated, by kind
	seen     map[string]bool             // kind, field and value of what must be unique
}

// load reads a declarative file. Its error lists everything that is wrong, in
// the layout of Kong's.
func load(text []byte, plugins map[string]*plugin, getenv func(string) (string, bool), notice func(string)) (*configuration, error) {
	var root any
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("failed parsing declarative configuration: %w", err)
	}
	top, ok := luaTable(root).(map[string]any)
	if !ok {
		return nil, errors.New("failed parsing declarative configuration: expected an object")
	}
	l := &loader{
		schemas: map[string]*schema.Schema{}, plugins: plugins, getenv: getenv, notice: notice,
		entities: map[string][]map[string]any{}, seen: map[string]bool{},
	}
	for kind, text := range entitySchemas {
		s, err := schema.Parse([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("schema of %s: %w", kind, err)
		}
		l.schemas[kind] = s
	}
	errs := l.top(top)
	if len(errs) == 0 {
		l.resolve(errs)
	}
	if len(errs) > 0 {
		return nil, errors.New(errs.String())
	}
	return l.configuration()
}

func (l *loader) top(top map[string]any) schema.Errors {
	errs := schema.Errors{}
	version := lua.ToString(top["_format_version"])
	if top["_format_version"] == nil {
		errs["_format_version"] = "required field missing"
	} else if !slices.Contains([]string{"1.1", "2.1", "3.0", "3"}, version) {
		errs["_format_version"] = "expected one of: 1.1, 2.1, 3.0"
	}
	for key, v := range top {
		if key == "_format_version" || key == "_transform" || v == nil {
			continue
		}
		if l.schemas[key] == nil {
			errs[key] = "unknown field"
			continue
		}
		if err := l.list(key, v, "", nil); err != nil {
			errs[key] = err
		}
	}
	return errs
}

// list loads the entities of one kind that belong to an owner, if not to all.
func (l *loader) list(kind string, v any, ownerKind string, owner map[string]any) any {
	list, ok := v.([]any)
	if !ok {
		return "expected an array"
	}
	errs := map[int]any{}
	for i, e := range list {
		t, ok := e.(map[string]any)
		if !ok {
			errs[i+1] = "expected a record"
			continue
		}
		if owner != nil {
			t[foreignName[ownerKind]] = map[string]any{"id": owner["id"]}
		}
		if err := l.entity(kind, t); err != nil {
			errs[i+1] = err
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (l *loader) entity(kind string, t map[string]any) any {
	nested := map[string]any{}
	for _, key := range nestedEntities[kind] {
		if v := t[key]; v != nil {
			nested[key] = v
		}
		delete(t, key)
	}
	errs := schema.Errors{}
	if kind == "services" {
		expandURL(t, errs)
	}
	s := l.schemas[kind]
	if kind == "plugins" {
		var err any
		if s, err = l.pluginSchema(t); err != nil {
			return err
		}
	}
	filled := s.Fill(t)
	for field, err := range s.Validate(filled) {
		errs[field] = err
	}
	if len(errs) == 0 {
		l.identify(kind, filled, errs)
	}
	l.entities[kind] = append(l.entities[kind], filled)
	for key, v := range nested {
		if err := l.list(key, v, kind, filled); err != nil {
			errs[key] = err
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// pluginSchema is the schema of plugin entities with the fields that the named
// plugin's own schema has.
func (l *loader) pluginSchema(t map[string]any) (*schema.Schema, any) {
	name, _ := t["name"].(string)
	if name == "" {
		return nil, schema.Errors{"name": "required field missing"}
	}
	p := l.plugins[name]
	if p == nil {
		return nil, schema.Errors{"name": fmt.Sprintf("plugin '%s' not enabled; add it to the 'plugins' configuration property", name)}
	}
	return l.schemas["plugins"].With(p.schema), nil
}

// expandURL splits a service's url into its parts.
func expandURL(t map[string]any, errs schema.Errors) {
	v, ok := t["url"]
	if !ok {
		return
	}
	delete(t, "url")
	u, err := url.Parse(lua.ToString(v))
	if err != nil || u.Host == "" {
		errs["url"] = "expected a valid URL"
		return
	}
	t["protocol"], t["host"] = u.Scheme, u.Hostname()
	t["port"] = map[string]float64{"https": 443, "grpcs": 443}[u.Scheme]
	if t["port"] == 0.0 {
		t["port"] = 80.0
	}
	if p, err := strconv.Atoi(u.Port()); err == nil {
		t["port"] = float64(p)
	}
	if u.Path != "" {
		t["path"] = u.Path
	}
}

// identify gives an entity an id, the same for the same file, and refuses a
// second one of the same name.
func (l *loader) identify(kind string, t map[string]any, errs schema.Errors) {
	key := ""
	for _, field := range []string{"name", "username", "custom_id", "key", "prefix"} {
		v := lua.Text(t[field])
		if v == "" || kind == "plugins" || field == "name" && kind == "vaults" {
			continue
		}
		unique := kind + "." + field + "=" + v
		if l.seen[unique] {
			errs[field] = fmt.Sprintf("uniqueness violation: '%s' entity with %s set to '%s' already declared", kind, field, v)
		}
		l.seen[unique] = true
		if key == "" {
			key = unique
		}
	}
	if kind == "plugins" {
		key = fmt.Sprintf("plugins:%v:%v:%v:%v", t["name"], foreign(t["route"]), foreign(t["service"]), foreign(t["consumer"]))
		if l.seen[key] {
			errs["name"] = fmt.Sprintf("uniqueness violation: 'plugins' entity '%v' already declared here", t["name"])
		}
		l.seen[key] = true
	}
	if t["id"] == nil {
		if key == "" {
			key = kind + "#" + strconv.Itoa(len(l.entities[kind]))
		}
		t["id"] = uuid.NewSHA1(uuid.NameSpaceOID, []byte(key)).String()
	}
	if id := kind + ".id=" + lua.Text(t["id"]); l.seen[id] {
		errs["id"] = fmt.Sprintf("uniqueness violation: '%s' entity with primary key set to '%s' already declared", kind, t["id"])
	} else {
		l.seen[id] = true
	}
}

// foreign is the id or name by which an entity refers to another.
func foreign(v any) string {
	if t, ok := v.(map[string]any); ok {
		for _, key := range []string{"id", "name", "username"} {
			if s := lua.Text(t[key]); s != "" {
				return s
			}
		}
	}
	return lua.Text(v)
}

// resolve replaces references between entities by ids.
func (l *loader) resolve(errs schema.Errors) {
	for kind, list := range l.entities {
		for i, t := range list {
			for target, field := range foreignName {
				ref := foreign(t[field])
				if ref == "" {
					continue
				}
				found := slices.IndexFunc(l.entities[target], func(e map[string]any) bool {
					return e["id"] == ref || e["name"] == ref || e["username"] == ref
				})
				if found < 0 {
					errs[kind] = map[int]any{i + 1: schema.Errors{field: fmt.Sprintf("invalid reference '%s: %s' (no such entity in '%s')", field, ref, target)}}
					continue
				}
				t[field] = l.entities[target][found]["id"]
			}
		}
	}
}

func (l *loader) configuration() (*configuration, error) {
	c := &configuration{keys: map[string]keyCredential{}, groups: map[string][]any{}}
	services := map[string]*kongtest.Service{}
	for _, t := range l.entities["services"] {
		s := new(kongtest.Service)
		if err := convert(t, s); err != nil {
			return nil, err
		}
		if t["enabled"] == true {
			services[s.ID] = s
		}
	}
	for _, t := range l.entities["routes"] {
		r := &routeEntity{order: len(c.routes)}
		if err := convert(t, r); err != nil {
			return nil, err
		}
		if r.service = services[r.ServiceID]; r.service == nil && r.ServiceID != "" {
			continue // its service is disabled
		}
		if err := r.compile(); err != nil {
			return nil, fmt.Errorf("in 'routes': %w", err)
		}
		c.routes = append(c.routes, r)
	}
	for _, t := range l.entities["consumers"] {
		var consumer kongtest.Consumer
		if err := convert(t, &consumer); err != nil {
			return nil, err
		}
		c.consumers = append(c.consumers, consumer)
	}
	for _, t := range l.entities["keyauth_credentials"] {
		c.keys[lua.Text(t["key"])] = keyCredential{lua.Text(t["id"]), lua.Text(t["consumer"])}
	}
	for _, t := range l.entities["acls"] {
		consumer := lua.Text(t["consumer"])
		c.groups[consumer] = append(c.groups[consumer], t["group"])
	}
	vaults := schema.EnvVaults{"env": ""}
	for _, t := range l.entities["vaults"] {
		if t["name"] != "env" {
			return nil, fmt.Errorf("in 'vaults': vault '%v' is not installed", t["name"])
		}
		config, _ := t["config"].(map[string]any)
		vaults[lua.Text(t["prefix"])] = lua.Text(config["prefix"])
	}
	for _, t := range l.entities["plugins"] {
		p := new(pluginEntity)
		if err := convert(t, p); err != nil {
			return nil, err
		}
		p.route, p.service, p.consumer = lua.Text(t["route"]), lua.Text(t["service"]), lua.Text(t["consumer"])
		config, _ := t["config"].(map[string]any)
		p.config = l.plugins[p.Name].schema.Record("config").Resolve(config, func(ref string) (string, error) { return vaults.Get(ref, l.getenv) }, l.notice)
		c.plugins = append(c.plugins, p)
	}
	return c, nil
}

// convert puts a validated table into a struct.
func convert(t map[string]any, into any) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// luaTable turns what YAML yields into Lua values.
func luaTable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = luaTable(e)
		}
	case map[any]any:
		t := make(map[string]any, len(v))
		for k, e := range v {
			t[strings.TrimSpace(fmt.Sprint(k))] = luaTable(e)
		}
		return t
	case []any:
		for i, e := range v {
			v[i] = luaTable(e)
		}
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case nil, bool, float64, string:
	default:
		return fmt.Sprint(v) // a timestamp
	}
	return v
}
