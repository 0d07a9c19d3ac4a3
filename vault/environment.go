package vault

import (
	"cmp"
	"errors"
	"net/url"
	"strconv"
	"strings"
)

// fromEnvironment makes the definitions that the environment holds: the objects
// hcv and azure, each if any of the variables that Kong documents for it is set
// (KONG_VAULT_HCV_HOST, KONG_VAULT_AZURE_VAULT_URI, …; every field has one).
// VAULT_ADDR alone makes hcv too. An empty variable counts as one that isn't
// set. Their errors are returned by name.
func fromEnvironment(getenv func(string) string) (map[string]Definition, map[string]error) {
	defined, failed := map[string]Definition{}, map[string]error{}
	for _, kind := range []string{kindHCV, kindAzure} {
		texts := map[string]string{}
		var problem error
		for _, f := range schemaOf(kind) {
			variable := "KONG_VAULT_" + strings.ToUpper(kind+"_"+f.Name)
			text := getenv(variable)
			if f.Name == "base64_decode" && text == "" {
				variable = "KONG_VAULT_" + strings.ToUpper(kind) + "_DECODE_BASE64" // as Kong documents it
				text = getenv(variable)
			}
			if text == "" {
				continue
			}
			if isReference(text) {
				var err error
				if text, err = resolve(text, getenv); err != nil {
					problem = cmp.Or(problem, configError(kind, variable, err))
				}
			}
			texts[f.Name] = text
		}
		if len(texts) == 0 && (kind != kindHCV || getenv("VAULT_ADDR") == "") {
			continue
		}
		d, err := decode(kind, kind, texts, getenv)
		switch {
		case problem != nil:
			failed[kind] = problem
		case err != nil:
			failed[kind] = configError(kind, "environment", err)
		default:
			defined[kind] = d
		}
	}
	return defined, failed
}

// addressFromVaultAddr sets the address to that of VAULT_ADDR, the vault
// command's own variable, unless it is set.
func addressFromVaultAddr(values map[string]any, address string) error {
	for _, name := range []string{"protocol", "host", "port", "unix_socket"} {
		if _, set := values[name]; set {
			return nil
		}
	}
	if address == "" {
		return nil
	}
	if socket, isSocket := strings.CutPrefix(address, "unix://"); isSocket {
		values["unix_socket"] = socket
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return errors.New("VAULT_ADDR must be like https://vault.example.com:8200, or https://proxy.example.com/vault")
	}
	if _, set := values["base_path"]; !set && strings.Trim(u.Path, "/") != "" {
		values["base_path"] = u.Path
	}
	values["protocol"], values["host"] = u.Scheme, u.Hostname()
	switch {
	case u.Port() != "":
		values["port"], err = strconv.Atoi(u.Port())
	case u.Scheme == "https":
		values["port"] = 443
	default:
		values["port"] = 80
	}
	return err
}

// fallBack fills what isn't set from the variables of the vault command.
func (c *HCV) fallBack(getenv func(string) string) {
	c.Namespace = cmp.Or(c.Namespace, getenv("VAULT_NAMESPACE"))
	c.CACert = cmp.Or(c.CACert, getenv("VAULT_CACERT"))
	if c.AuthMethod == "token" && c.TokenFile == "" && c.UnixSocket == "" {
		c.Token = cmp.Or(c.Token, getenv("VAULT_TOKEN"))
	}
}

// fallBack fills what isn't set from the variables that Kong documents for the
// identity, AZURE_CLIENT_SECRET and its like.
func (c *Azure) fallBack(getenv func(string) string) {
	c.TenantID = cmp.Or(c.TenantID, getenv(c.CredentialsPrefix+"_TENANT_ID"))
	c.ClientID = cmp.Or(c.ClientID, getenv(c.CredentialsPrefix+"_CLIENT_ID"))
	c.ClientSecret = cmp.Or(c.ClientSecret, getenv(c.CredentialsPrefix+"_CLIENT_SECRET"))
}
