package pluginserver

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"regexp"

	"kong-vault-auth/kongschema"
)

// description is what Kong's query command prints.
type description struct {
	Protocol   string
	SocketPath string
	Plugins    []pluginDescription
}

type pluginDescription struct {
	Name     string
	Phases   []string
	Version  string
	Priority int
	Schema   any
}

// Dump writes the description of a plugin that Kong reads when it starts: one JSON object,
// which must be the only output. It fails if the configuration's struct can't be expressed
// in Kong's schema language.
func Dump(w io.Writer, p Plugin, name, socket string) error {
	config, err := kongschema.Schema(reflect.TypeOf(p.Config))
	if err != nil {
		return fmt.Errorf("schema of plugin %s: %w", name, err)
	}
	protocols := []string{"grpc", "grpcs", "http", "https"}
	return json.NewEncoder(w).Encode(description{
		Protocol:   "ProtoBuf:1",
		SocketPath: socket,
		Plugins: []pluginDescription{{
			Name:     name,
			Phases:   []string{phaseAccess},
			Version:  kongVersion(p.Version),
			Priority: p.Priority,
			Schema: map[string]any{
				"name": name,
				"fields": []any{
					map[string]any{"protocols": map[string]any{
						"type":     "set",
						"required": true,
						"default":  protocols,
						"elements": map[string]any{"type": "string", "one_of": protocols},
					}},
					map[string]any{"config": config},
				},
			},
		}},
	})
}

var threeNumbers = regexp.MustCompile(`\d+\.\d+\.\d+`)

// kongVersion is the part of a version that Kong accepts. It refuses to load a
// plugin whose version isn't x.y.z (kong/db/dao/plugins.lua), such as the
// "dev" or the commit's hash of a build without a tag.
func kongVersion(version string) string {
	if v := threeNumbers.FindString(version); v != "" {
		return v
	}
	return "0.0.0"
}
