package control

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Variable names the socket, in the environment of the plugin server and of commands.
const Variable = "VAULT_AUTH_CONTROL"

// Off is the value of Variable for a plugin server without such a socket.
const Off = "off"

// maxPath is the longest path, in bytes, that a socket can have here: a unix socket's
// may have 107, and ours is first made under a longer name.
const maxPath = 90

// Path is where a plugin server listens, by its Variable: beside its own socket unless
// that says otherwise. It is empty if it listens nowhere.
func Path(setting, pluginSocket string) (string, error) {
	switch {
	case setting == Off:
		return "", nil
	case setting == "":
		return Beside(pluginSocket), nil
	case !filepath.IsAbs(setting) || strings.HasSuffix(setting, "/"):
		return "", fmt.Errorf("it must be the whole path of a socket, such as /run/vault-auth/vault-auth-control.socket, or %s, not %.100q", Off, setting)
	case len(setting) > maxPath:
		return "", fmt.Errorf("the path of a socket may have %d bytes, %.100q has %d: set %s to a shorter one, or to %s", maxPath, setting, len(setting), Variable, Off)
	}
	return setting, nil
}

// Beside is the path beside a plugin server's own socket.
func Beside(pluginSocket string) string {
	return strings.TrimSuffix(pluginSocket, ".socket") + "-control.socket"
}

// usual are the paths of the installations that deploy/ and the documents describe.
var usual = []string{
	"/run/vault-auth-control/vault-auth-control.socket", // systemd
	Beside("/run/vault-auth/vault-auth.socket"),         // containers
	Beside("/usr/local/kong/vault-auth.socket"),         // started by Kong
}

// Find is the socket that a command is to use, by the environment, or the first of the
// usual ones that is there.
func Find(getenv func(string) string) string {
	if path := getenv(Variable); path != "" {
		return path
	}
	for _, path := range usual {
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return usual[0]
}
