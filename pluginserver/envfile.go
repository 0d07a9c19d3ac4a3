package pluginserver

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// ParseEnv reads environment variables as `docker run --env-file` does: one NAME=VALUE a
// line. Quotes stay and nothing is expanded, since secrets hold such characters. Empty lines
// and lines that begin with # are skipped. Errors name the line, never its value.
func ParseEnv(r io.Reader) (map[string]string, error) {
	env := map[string]string{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimLeft(lines.Text(), " \t")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" || strings.ContainsAny(name, " \t\"'") {
			return nil, fmt.Errorf("line %d is not NAME=VALUE", n)
		}
		if strings.ContainsRune(value, 0) {
			return nil, fmt.Errorf("line %d: the value of %s holds a zero byte", n, name)
		}
		env[name] = strings.TrimSuffix(value, "\r")
	}
	return env, lines.Err()
}
