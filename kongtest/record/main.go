// Command record drives a genuine Kong with external plugins and writes what it
// did to kongtest/testdata/genuine. The tests of kongtest/gateway compare it
// with what that gateway does.
//
//	go run ./kongtest/record -kong /path/to/kong
//
// It starts that Kong without a database, with a prefix folder and ports of its
// own, and stops it at the end. The configurations whose verdicts are recorded
// are those already in schema.json and schema-vault-secrets.json: to add one, add its
// "case" and "plugin" there and run this again, with -verdicts to record nothing else.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"kong-vault-auth/kongtest/gateway"
	"kong-vault-auth/kongtest/genuine"
	"kong-vault-auth/kongtest/recording"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/vaultauth"
	"kong-vault-auth/vaultsecrets"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("record: ")
	kong := flag.String("kong", os.Getenv("E2E_KONG"), "the kong `program`; $E2E_KONG by default")
	out := flag.String("out", filepath.Join("kongtest", "testdata", "genuine"), "`folder` of the recording")
	verdicts := flag.Bool("verdicts", false, "record the verdicts on configurations only")
	flag.Parse()
	if *kong == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := record(*kong, *out, *verdicts); err != nil {
		log.Fatal(err)
	}
}

func record(program, out string, verdictsOnly bool) error {
	dir, err := os.MkdirTemp("", "record") // short: a socket's path ends at 107 bytes
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	probe, err := recording.NewProbe(dir)
	if err != nil {
		return err
	}
	upstream, err := recording.NewUpstream()
	if err != nil {
		return err
	}
	defer upstream.Close()
	servers := []gateway.PluginServer{{Name: recording.Plugin, Socket: probe.Socket(), QueryCommand: probe.Query()}}
	for name, plugin := range judged {
		server, err := describe(dir, name, plugin.served)
		if err != nil {
			return err
		}
		servers = append(servers, server)
	}
	k, err := genuine.Start(genuine.Options{
		Program: program, Prefix: filepath.Join(dir, "kong"), Servers: servers,
		Env: []string{
			// One worker, so that what belongs to a worker comes in one order.
			"KONG_NGINX_WORKER_PROCESSES=1",
			"KONG_TRUSTED_IPS=" + recording.TrustedClient,
			recording.ReferenceEnv,
		},
	})
	if err != nil {
		return err
	}
	defer func() {
		if err := k.Stop(); err != nil {
			log.Print(err)
		}
	}()
	version, err := k.Version()
	if err != nil {
		return err
	}
	for name, plugin := range judged {
		if err := judgeAll(k, version, dir, name, out, plugin.verdicts); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if verdictsOnly {
		return nil
	}
	if err := k.SetConfig(recording.Config(upstream)); err != nil {
		return err
	}
	cases, err := recording.Run(k, probe, upstream, recording.Cases())
	if err != nil {
		return err
	}
	if err := recording.Write(out, recording.RequestsFile, recording.Requests{Kong: version, Cases: cases}); err != nil {
		return err
	}
	steps, err := recording.LifeCycle(k, probe, upstream)
	if err != nil {
		return err
	}
	if err := recording.Write(out, recording.LifeCycleFile, recording.Steps{Kong: version, Steps: steps}); err != nil {
		return err
	}
	handed, err := recording.References(k, probe, upstream)
	if err != nil {
		return err
	}
	return recording.Write(out, recording.ReferencesFile, recording.Handovers{Kong: version, Cases: handed})
}

// judged are the plugins whose configurations Kong judges, and the files of the verdicts.
var judged = map[string]struct {
	served   pluginserver.Plugin
	verdicts string
}{
	"vault-auth":      {vaultauth.New("0.0.0", nil, slog.New(slog.DiscardHandler)).Plugin, recording.SchemaFile},
	vaultsecrets.Name: {vaultsecrets.New("0.0.0", nil, slog.New(slog.DiscardHandler)).Plugin, recording.SecretsFile},
}

// dumpOf is the file that the query command of a plugin prints.
func dumpOf(dir, name string) string { return filepath.Join(dir, name+".json") }

// describe writes the description of a plugin for Kong.
func describe(dir, name string, p pluginserver.Plugin) (gateway.PluginServer, error) {
	s := gateway.PluginServer{Name: name, Socket: filepath.Join(dir, name+".socket"), QueryCommand: "/bin/cat " + dumpOf(dir, name)}
	var b bytes.Buffer
	if err := pluginserver.Dump(&b, p, name, s.Socket); err != nil {
		return s, err
	}
	return s, os.WriteFile(dumpOf(dir, name), b.Bytes(), 0o644)
}

// judgeAll has Kong judge the configurations in a file again.
func judgeAll(k *genuine.Kong, version, dir, name, out, file string) error {
	b, err := os.ReadFile(dumpOf(dir, name))
	if err != nil {
		return err
	}
	var description struct {
		Plugins []struct{ Schema json.RawMessage }
	}
	if err := json.Unmarshal(b, &description); err != nil {
		return err
	}
	var verdicts recording.Verdicts
	if err := recording.Read(out, file, &verdicts); err != nil {
		return err
	}
	verdicts.Kong, verdicts.Schema = version, description.Plugins[0].Schema
	for i := range verdicts.Cases {
		if err := judge(k, &verdicts.Cases[i]); err != nil {
			return fmt.Errorf("case %q: %w", verdicts.Cases[i].Case, err)
		}
	}
	return recording.Write(out, file, verdicts)
}

// judge asks Kong about one configuration. The Admin API can't add a plugin
// without a database, so what is stored is read after a POST to /config.
func judge(k *genuine.Kong, v *recording.Verdict) error {
	v.Accepted, v.Errors, v.Stored = false, nil, nil
	status, body, err := k.Admin(http.MethodPost, "/schemas/plugins/validate", v.Plugin)
	if err != nil {
		return err
	}
	if status >= 300 {
		var refused struct{ Fields map[string]any }
		if err := json.Unmarshal(body, &refused); err != nil {
			return fmt.Errorf("%d %s: %w", status, body, err)
		}
		v.Errors, err = json.Marshal(refused.Fields) // with its keys in order
		return err
	}
	v.Accepted = true
	var plugin map[string]any
	if err := json.Unmarshal(v.Plugin, &plugin); err != nil {
		return err
	}
	config := map[string]any{"_format_version": "3.0", "plugins": []any{plugin}}
	if consumer, ok := plugin["consumer"].(map[string]any); ok {
		config["consumers"] = []any{map[string]any{"id": consumer["id"], "username": "scope"}}
		plugin["consumer"] = consumer["id"]
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	if status, body, err := k.Admin(http.MethodPost, "/config", text); err != nil || status >= 300 {
		return fmt.Errorf("POST /config: %d %s: %w", status, body, err)
	}
	_, body, err = k.Admin(http.MethodGet, "/plugins", nil)
	if err != nil {
		return err
	}
	var stored struct {
		Data []struct {
			Config    map[string]any `json:"config"`
			Enabled   bool           `json:"enabled"`
			Protocols []string       `json:"protocols"`
		}
	}
	if err := json.Unmarshal(body, &stored); err != nil {
		return err
	}
	if len(stored.Data) != 1 {
		return fmt.Errorf("%d plugins are stored", len(stored.Data))
	}
	slices.Sort(stored.Data[0].Protocols) // a set, in any order
	v.Stored, err = json.Marshal(stored.Data[0])
	return err
}
