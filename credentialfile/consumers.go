package credentialfile

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"kong-vault-auth/credential"
)

// Consumers are the consumers of a decK dump, by id, username and custom_id.
type Consumers map[string]credential.Consumer

// maxDump bounds a decK dump, in bytes.
const maxDump = 64 << 20

// ReadConsumers reads a decK dump. If the same text names two consumers, an id takes
// precedence over a username, and a username over a custom_id.
func ReadConsumers(r io.Reader) (Consumers, error) { return readConsumers(r, maxDump) }

func readConsumers(r io.Reader, limit int) (Consumers, error) {
	var dump struct {
		Version   string `yaml:"_format_version"`
		Consumers []struct {
			ID       string `yaml:"id"`
			Username string `yaml:"username"`
			CustomID string `yaml:"custom_id"`
		} `yaml:"consumers"`
	}
	in := &bounded{in: r, left: limit}
	err := yaml.NewDecoder(in).Decode(&dump)
	switch {
	case in.left == 0:
		return nil, fmt.Errorf("it is larger than %d bytes", limit)
	case err != nil && !errors.Is(err, io.EOF), dump.Version == "":
		return nil, errors.New("it is not what deck gateway dump writes: YAML or JSON with _format_version and consumers")
	}
	all := Consumers{}
	for _, names := range []func(i int) string{
		func(i int) string { return dump.Consumers[i].CustomID },
		func(i int) string { return dump.Consumers[i].Username },
		func(i int) string { return strings.ToLower(dump.Consumers[i].ID) },
	} {
		for i, c := range dump.Consumers {
			if name := names(i); name != "" && (c.ID != "" || c.Username != "") {
				all[name] = credential.Consumer{ID: strings.ToLower(c.ID), Username: c.Username}
			}
		}
	}
	return all, nil
}
