package vault

import (
	"cmp"
	"strings"

	"kong-vault-auth/secretstore"
)

// fromEnvironment makes the definitions that the environment holds: one object of
// each kind and of its name, if any of the variables that Kong documents for it is
// set (KONG_VAULT_HCV_HOST, …; every field has one), or the kind's own. An empty
// variable counts as one that isn't set. Their errors are returned by name.
func fromEnvironment(kinds kinds, getenv func(string) string) (map[string]Definition, map[string]error) {
	defined, failed := map[string]Definition{}, map[string]error{}
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
				if text, err = resolve(text, getenv); err != nil {
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
