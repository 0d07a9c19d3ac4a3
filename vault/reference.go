package vault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// resolve reads the environment variable that {vault://env/NAME} refers to, or
// with {vault://env/NAME/KEY} one string of the JSON object in it, as Kong's env
// vault does: the name is put in upper case, and - becomes _. Errors name the
// variable, never what it holds.
func resolve(reference string, getenv func(string) string) (string, error) {
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
