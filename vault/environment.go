package vault

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"kong-vault-auth/secretstore"
)

// fromEnvironment returns the objects that the environment defines, and the errors of
// those that it defines wrongly, by name. Each kind of store may have one object there,
// which is named after the kind. It is defined if one of Kong's variables for it is set
// (each field has one, such as KONG_VAULT_HCV_HOST), or the kind's own variable. An empty
// variable counts as unset.
func fromEnvironment(kinds kinds, getenv func(string) string) (defined map[string]Definition, failed map[string]error) {
	defined, failed = map[string]Definition{}, map[string]error{}
	for _, kind := range kinds {
		texts := map[string]string{}
		var problem error
		for _, f := range fieldsOf(kind.New()) {
			variable := "KONG_VAULT_" + strings.ToUpper(kind.Name+"_"+f.Name)
			text := getenv(variable)
			if f.Name == "base64_decode" && text == "" {
				variable = "KONG_VAULT_" + strings.ToUpper(kind.Name) + "_DECODE_BASE64" // as Kong documents it
				text = getenv(variable)
			}
			if text == "" {
				continue
			}
			if secretstore.IsReference(text) {
				var err error
				if text, err = resolveEnv(text, getenv); err != nil {
					problem = cmp.Or(problem, configError(kind.Name, variable, err))
				}
			}
			texts[f.Name] = text
		}
		if len(texts) == 0 && (kind.Variable == "" || getenv(kind.Variable) == "") {
			continue
		}
		d, err := decode(kind, kind.Name, texts, getenv)
		switch {
		case problem != nil:
			failed[kind.Name] = problem
		case err != nil:
			failed[kind.Name] = configError(kind.Name, "environment", err)
		default:
			defined[kind.Name] = d
		}
	}
	return defined, failed
}

// resolveEnv returns the value of the environment variable that a reference
// {vault://env/NAME} names, or for {vault://env/NAME/KEY} one string of the JSON object in
// it. As in Kong's env vault, the name is converted to upper case, and - to _. Errors name
// the variable, never its value.
func resolveEnv(reference string, getenv func(string) string) (string, error) {
	u, err := url.Parse(reference[1 : len(reference)-1])
	if err != nil {
		return "", errors.New("the reference can't be read; it should look like {vault://env/NAME}")
	}
	if u.Host != "env" {
		return "", fmt.Errorf("references to the vault %q can't be resolved here, only {vault://env/NAME} can", u.Host)
	}
	resource, key, hasKey := strings.Cut(strings.Trim(u.Path, "/"), "/")
	if resource == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("the reference can't be read; it should look like {vault://env/NAME} or {vault://env/NAME/KEY}")
	}
	name := strings.ReplaceAll(strings.ToUpper(getenv("KONG_VAULT_ENV_PREFIX")+resource), "-", "_")
	value := getenv(name)
	if value == "" {
		return "", fmt.Errorf("the environment variable %s is not set. Kong starts plugin servers with an empty environment: "+
			"name it in nginx_main_env, or start the plugin server with -env-file", name)
	}
	if !hasKey {
		return value, nil
	}
	var object map[string]any
	if json.Unmarshal([]byte(value), &object) != nil {
		return "", fmt.Errorf("the environment variable %s does not hold a JSON object", name)
	}
	s, ok := object[key].(string)
	if !ok {
		return "", fmt.Errorf("the JSON object in the environment variable %s has no string named %q", name, key)
	}
	return s, nil
}
