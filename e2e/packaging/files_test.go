package packaging

import (
	"bufio"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"go.yaml.in/yaml/v3"
	"kong-vault-auth/e2e/build"
)

// file is the path of one of the project's files.
func file(t *testing.T, name string) string {
	t.Helper()
	root, err := build.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, name)
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(file(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// compose loads docker-compose.yml as docker compose does, without the
// environment of whoever runs the test.
func compose(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{file(t, "docker-compose.yml")})
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// environment is a service's environment as plain strings.
func environment(s types.ServiceConfig) map[string]string {
	env := map[string]string{}
	for name, value := range s.Environment {
		if value != nil {
			env[name] = *value
		}
	}
	return env
}

// dockerfile is the contents of the Dockerfile, by kind of instruction.
type dockerfile struct {
	from  []string                  // images, in order
	env   map[string]string         // of the last stage
	user  string                    // of the last stage
	copy  *instructions.CopyCommand // the last stage's last
	modes []string                  // --chmod of each of the last stage's COPY
	runs  []string
}

func parseDockerfile(t *testing.T) dockerfile {
	t.Helper()
	parsed, err := parser.Parse(strings.NewReader(read(t, "Dockerfile")))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range parsed.Warnings {
		t.Errorf("Dockerfile: %s", w.Short)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := dockerfile{env: map[string]string{}}
	for i, stage := range stages {
		d.from = append(d.from, stage.BaseName)
		last := i == len(stages)-1
		for _, command := range stage.Commands {
			switch c := command.(type) {
			case *instructions.RunCommand:
				d.runs = append(d.runs, strings.Join(c.CmdLine, " "))
			case *instructions.CopyCommand:
				if last {
					d.copy, d.modes = c, append(d.modes, c.Chmod)
				}
			case *instructions.UserCommand:
				d.user = c.User
			case *instructions.EnvCommand:
				for _, e := range c.Env {
					d.env[e.Key] = strings.Trim(e.Value, `"`)
				}
			}
		}
	}
	return d
}

// kongConf is what kong.conf.example sets, and which lines it offers commented out, as an
// alternative.
func kongConf(t *testing.T) (set map[string]string, offered [][2]string) {
	t.Helper()
	set = map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(read(t, "kong.conf.example")))
	for lines.Scan() {
		line := lines.Text()
		commented := strings.HasPrefix(line, "#")
		key, value, ok := strings.Cut(strings.TrimPrefix(line, "#"), " = ")
		switch {
		case !ok || strings.ContainsAny(key, " "):
		case commented:
			offered = append(offered, [2]string{key, value})
		default:
			set[key] = value
		}
	}
	return set, offered
}

// kongYML is the part of kong.yml on which other files depend.
type kongYML struct {
	Services []struct {
		URL    string
		Routes []struct {
			Paths   []string
			Plugins []struct {
				Name   string
				Config struct {
					HCV struct {
						Host  string
						Port  int
						Mount string
						KV    string
						Path  string
						Token string
					}
				}
			}
		}
	}
	Consumers []struct{ Username string }
}

func parseKongYML(t *testing.T) kongYML {
	t.Helper()
	var k kongYML
	if err := yaml.Unmarshal([]byte(read(t, "kong.yml")), &k); err != nil {
		t.Fatal(err)
	}
	return k
}

// words are the words of a shell command line without quotes.
func words(line string) []string { return slices.Collect(strings.FieldsSeq(line)) }
