package control

import (
	"fmt"
	"os"
	"strings"

	"kong-vault-auth/unixsocket"
)

// Variable names the socket, in the environment of the plugin server and of commands.
const Variable = "VAULT_AUTH_CONTROL"

// Off is the value of Variable for a plugin server without such a socket.
const Off = "off"

// Path returns where a plugin server listens, given the value of Variable: by default beside
// its own socket. An empty path is nowhere.
func Path(setting, pluginSocket string) (string, error) {
	switch {
	case setting == Off:
		return "", nil
	case setting == "":
		return Beside(pluginSocket), nil
	}
	path, err := unixsocket.ParsePath(setting, "/run/vault-auth/vault-auth-control.socket")
	if err != nil {
		return "", fmt.Errorf("%w; %s turns it off", err, Off)
	}
	return path, nil
}

// Beside returns the default path, beside a plugin server's own socket.
func Beside(pluginSocket string) string {
	return strings.TrimSuffix(pluginSocket, ".socket") + "-control.socket"
}

// usual are the paths of the installations that deploy/ and the documents describe.
var usual = []string{
	"/run/vault-auth-control/vault-auth-control.socket", // systemd
	Beside("/run/vault-auth/vault-auth.socket"),         // containers
	Beside("/usr/local/kong/vault-auth.socket"),         // started by Kong
}

// Find returns the socket for a command to use: the one that the environment names, or the
// first of the usual ones that exists.
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
