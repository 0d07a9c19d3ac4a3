package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"kong-vault-auth/kongtest/schema"
)

// PluginServer is one entry of Kong's pluginserver_names and its settings.
type PluginServer struct {
	Name         string // of the server; the plugin's own name comes from the query command
	Socket       string // pluginserver_<name>_socket
	StartCommand string // pluginserver_<name>_start_cmd; without one, another program listens on the socket
	QueryCommand string // pluginserver_<name>_query_cmd
}

// Binary is the PluginServer of an executable that has the command line of
// go-pdk's plugins, with its socket in Kong's prefix.
func Binary(path, prefix string) PluginServer {
	name := filepath.Base(path)
	command := shellQuote(path) + " -kong-prefix " + shellQuote(prefix)
	return PluginServer{
		Name:         name,
		Socket:       filepath.Join(prefix, name+".socket"),
		StartCommand: command,
		QueryCommand: command + " -dump",
	}
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// plugin is a plugin that the gateway can run: an external one, or one of the
// stand-ins for Kong's own.
type plugin struct {
	name     string
	priority int
	phases   []string
	schema   *schema.Schema
	server   *PluginServer                            // of an external one
	access   func(*exchange, map[string]any, *worker) // of a stand-in
	log      func(*exchange, map[string]any)          // likewise
}

// query runs a server's query command and reads the description that it prints, as
// Kong does when it starts: anything else on standard output is an error, and of
// several plugins only the first one is used.
func (s *PluginServer) query(ctx context.Context, env []string) (*plugin, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", s.QueryCommand)
	cmd.Env = env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("loading plugins info from [%s]: %s: %w\n%s", s.Name, s.QueryCommand, err, &stderr)
	}
	var dump struct {
		Protocol string
		Plugins  []struct {
			Name     string
			Phases   []string
			Version  string
			Priority int
			Schema   json.RawMessage
		}
	}
	if err := json.Unmarshal(out, &dump); err != nil {
		return nil, fmt.Errorf("not a plugin info table: \n%s\n%s", s.QueryCommand, out)
	}
	if dump.Protocol != "ProtoBuf:1" {
		return nil, fmt.Errorf("unknown protocol implementation: %s", dump.Protocol)
	}
	if len(dump.Plugins) == 0 {
		return nil, fmt.Errorf("no plugins in the info of [%s]", s.Name)
	}
	info := dump.Plugins[0]
	if v := versionNumbers.FindString(info.Version); !versionPattern.MatchString(v) {
		return nil, fmt.Errorf("plugin %q cannot be loaded because its VERSION field does not follow the \"x.y.z\" format, got: %q", info.Name, info.Version)
	}
	schema, err := schema.ParsePlugin(info.Schema)
	if err != nil {
		return nil, fmt.Errorf("error loading plugin schemas: on plugin '%s': %w", info.Name, err)
	}
	return &plugin{name: info.Name, priority: info.Priority, phases: info.Phases, schema: schema, server: s}, nil
}

// loadPlugins queries all servers and adds the stand-ins.
func loadPlugins(ctx context.Context, servers []PluginServer, env []string) (map[string]*plugin, error) {
	plugins := map[string]*plugin{}
	for _, p := range standIns() {
		plugins[p.name] = p
	}
	for i := range servers {
		p, err := servers[i].query(ctx, env)
		if err != nil {
			return nil, err
		}
		if old := plugins[p.name]; old != nil {
			return nil, fmt.Errorf("duplicate plugin name [%s] of %s", p.name, servers[i].Name)
		}
		plugins[p.name] = p
	}
	return plugins, nil
}

// hasPhase reports whether the plugin runs in a phase.
func (p *plugin) hasPhase(phase string) bool { return slices.Contains(p.phases, phase) }

// mainEnv is the environment of a plugin server: only what nginx's main_env
// directive names, "A; env B" or "A=value".
func mainEnv(directive string, getenv func(string) (string, bool)) []string {
	env := []string{}
	for name := range strings.SplitSeq(directive, ";") {
		name = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(name), "env "))
		if name == "" {
			continue
		}
		if strings.Contains(name, "=") {
			env = append(env, name)
		} else if v, ok := getenv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// Kong takes the first numbers and dots in a version, which must be one to
// three numbers (kong/db/dao/plugins.lua).
var (
	versionNumbers = regexp.MustCompile(`\d[\d.]*`)
	versionPattern = regexp.MustCompile(`^\d+(\.\d+){0,2}$`)
)
