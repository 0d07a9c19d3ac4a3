package admin

import (
	_ "embed"
	"encoding/json"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var openAPISource []byte

// openAPIDocument is the OpenAPI document as JSON.
func openAPIDocument() ([]byte, error) {
	var document map[string]any
	if err := yaml.Unmarshal(openAPISource, &document); err != nil {
		return nil, err
	}
	return json.Marshal(document)
}
