package vault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"kong-vault-auth/secretstore"
)

// vaultsYML is a vaults file with one object, kong-auth.
func vaultsYML(config string) string {
	return fmt.Sprintf("vaults: [{name: hcv, prefix: kong-auth, config: {token: hvs.one, %s}}]", config)
}

// writeFile replaces a file as a whole, as careful programs do.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// fileRegistry is a registry with a vaults file.
func fileRegistry(t *testing.T, stores *fakeStores, log *logbook, content string) (r *Registry, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "vaults.yml")
	writeFile(t, path, content)
	return newRegistry(t, stores, log, "VAULT_AUTH_VAULTS_FILE", path), path
}

func TestNamedObjects(t *testing.T) {
	stores := &fakeStores{records: someRecords()}
	r, _ := fileRegistry(t, stores, &logbook{}, vaultsYML("host: 127.0.0.2"))
	o, release := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
	_, releaseSame := mustOpen(t, r, "other", Config{Vault: "kong-auth"})
	if o.Name() != "kong-auth" || len(stores.all()) != 1 {
		t.Errorf("%d stores for one name", len(stores.all()))
	}
	wantAccepted(t, o, "ac-alice", "right")
	s := stores.all()[0]
	if c := *s.config.(*HCV); c.Host != "127.0.0.2" || c.Port != 8200 || c.TTL != 60 || !s.options.TrustNode || s.options.Name != "kong-auth" {
		t.Errorf("opened %+v with %+v", c, s.options)
	}
	release()
	releaseSame()
	releaseSame() // does nothing
	o, _ = mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
	wantAccepted(t, o, "ac-alice", "right")
	if len(stores.all()) != 1 || s.readCount() != 1 {
		t.Error("the store was not kept for the next user")
	}
}

func TestNamesThatMeanNothing(t *testing.T) {
	tests := []struct {
		name, file string
		env        []string
		want       string
	}{
		{"hcv", "", nil, `there is no vault object "hcv"; this node knows none; define it in VAULT_AUTH_VAULTS_FILE`},
		{"kong_auth", vaultsYML(""), []string{"KONG_VAULT_HCV_TOKEN", "hvs.one"}, "this node knows kong-auth, hcv"},
		{"kong-auth", "vaults: {", nil, "vaults.yml: it is not valid YAML"},
		{"kong-auth", vaultsYML("kv: 2"), nil, `vaults.yml: vault object configuration of "kong-auth": kv: it must be v1 or v2`},
		{"hcv", "", []string{"KONG_VAULT_HCV_HOST", "vault"}, "token: it is empty, and auth_method token needs it"},
		{"hcv", "", []string{"KONG_VAULT_HCV_PORT", "x"}, "port: it must be a whole number"},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			log := &logbook{}
			env := tt.env
			if tt.file != "" {
				path := filepath.Join(t.TempDir(), "vaults.yml")
				writeFile(t, path, tt.file)
				env = append(env, "VAULT_AUTH_VAULTS_FILE", path)
			}
			r := newRegistry(t, &fakeStores{}, log, env...)
			o, release := mustOpen(t, r, "plugin", Config{Vault: tt.name})
			defer release()
			_, err := o.Lookup(t.Context(), "ac-alice", "right", nil)
			if !errors.Is(err, secretstore.ErrConfig) || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Lookup = %v, want an ErrConfig with %q", err, tt.want)
			}
		})
	}
}

func TestFileThatIsMissing(t *testing.T) {
	log := &logbook{}
	newRegistry(t, &fakeStores{}, log, "VAULT_AUTH_VAULTS_FILE", filepath.Join(t.TempDir(), "none", "vaults.yml"))
	if log.count("level=ERROR", "can't be used", "no such file") != 1 {
		t.Errorf("log: %s", log)
	}
}

// None of these objects can be opened. That must be noticed when the file is read, not when
// the object is opened and the rest of the file is already in use.
func TestAVaultsFileWithOneBadObjectIsRefusedAsAWhole(t *testing.T) {
	const azure = "name: azure, prefix: bad, config: {vault_uri: https://contoso.vault.azure.net, tenant_id: t, client_id: c, "
	for field, bad := range map[string]string{
		"mount":              "name: hcv, prefix: bad, config: {token: hvs.two, mount: /}",
		"token":              "name: hcv, prefix: bad, config: {token: hvs.two hvs.three}",
		"token_sink_file":    "name: hcv, prefix: bad, config: {token: hvs.two, token_sink_file: /f}",
		"cert_auth_cert_key": "name: hcv, prefix: bad, config: {token: hvs.two, cert_auth_cert: /f}",
		"ca_cert":            "name: hcv, prefix: bad, config: {token: hvs.two, ca_cert: -----BEGIN CERTIFICATE-----}",
		"approle_auth_path":  "name: hcv, prefix: bad, config: {auth_method: approle, approle_role_id: r, approle_auth_path: a/../b}",
		"approle_role_id":    "name: hcv, prefix: bad, config: {auth_method: approle, approle_role_id: a b}",
		"kube_auth_path":     "name: hcv, prefix: bad, config: {auth_method: kubernetes, kube_role: r, kube_auth_path: a//b}",
		"jwt_auth_path":      "name: hcv, prefix: bad, config: {auth_method: jwt, jwt_role: r, jwt_token_file: /f, jwt_auth_path: ..}",
		"host":               "name: hcv, prefix: bad, config: {token: hvs.two, host: vault%20example}",
		"vault_uri":          "name: azure, prefix: bad, config: {vault_uri: https://vault.example.com}",
		"tenant_id":          "name: azure, prefix: bad, config: {vault_uri: https://contoso.vault.azure.net, auth_method: workload_identity, client_id: c}",
		"client_id":          "name: azure, prefix: bad, config: {vault_uri: https://contoso.vault.azure.net, auth_method: workload_identity, tenant_id: t}",
		"client_certificate": azure + "auth_method: client_certificate, client_certificate: -----BEGIN CERTIFICATE-----}",
	} {
		t.Run(field, func(t *testing.T) {
			stores := &fakeStores{records: someRecords()}
			log := &logbook{}
			r, path := fileRegistry(t, stores, log, vaultsYML("host: 127.0.0.2"))
			r.node.stop()
			o, _ := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
			writeFile(t, path, "vaults: [{"+bad+"}, {name: hcv, prefix: kong-auth, config: {token: hvs.one, host: 127.0.0.3}}]")
			r.node.reload()
			if log.count("level=ERROR", "the vaults file can't be used", `of \"bad\": `+field+": ") != 1 {
				t.Errorf("log: %s", log)
			}
			wantAccepted(t, o, "ac-alice", "right")
			if len(stores.all()) != 1 || r.node.file["bad"].Config != nil {
				t.Error("a part of the file is in use")
			}
		})
	}
}

func TestFileThatOthersCanRead(t *testing.T) {
	log := &logbook{}
	r, path := fileRegistry(t, &fakeStores{}, log, vaultsYML(""))
	r.node.stop()
	reload := func(content string, mode os.FileMode) {
		t.Helper()
		writeFile(t, path, content)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		r.node.reload()
	}
	reload(vaultsYML(""), 0o644)
	if log.count("level=ERROR", "chmod 0640 "+path) != 1 {
		t.Errorf("log: %s", log)
	}
	reload("vaults: [{name: azure, prefix: without-secrets, config: {vault_uri: https://contoso.vault.azure.net}}]", 0o644)
	if _, read := r.node.file["without-secrets"]; !read {
		t.Errorf("log: %s", log)
	}
	reload("vaults: []", 0o666)
	if log.count("level=ERROR", "chmod 0644 "+path) != 1 {
		t.Errorf("log: %s", log)
	}
}

// The registry's own watching is tested below; here reload is called as it
// would call it.
func TestReload(t *testing.T) {
	stores := &fakeStores{records: someRecords()}
	log := &logbook{}
	r, path := fileRegistry(t, stores, log, vaultsYML(""))
	r.node.stop()
	o, _ := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
	wantAccepted(t, o, "ac-alice", "right")
	reload := func(content string) {
		t.Helper()
		writeFile(t, path, content)
		r.node.reload()
	}

	reload(vaultsYML("ttl: 30"))
	if len(stores.all()) != 1 || o.bound.Load().policy.TTL.Seconds() != 30 {
		t.Error("another limit opened a store, or is not in force")
	}

	reload(strings.Replace(vaultsYML(""), "hvs.one", "hvs.two", 1))
	if len(stores.all()) != 2 {
		t.Fatal("another token opened no store")
	}
	stores.all()[1].fail(errors.New("down"))
	wantAccepted(t, o, "ac-alice", "right") // still cached
	stores.all()[1].fail(nil)

	for range 3 {
		reload(vaultsYML("kv: 2"))
	}
	wantAccepted(t, o, "ac-alice", "right")
	if log.count("level=ERROR", "objects stay as they were", "kv: it must be v1 or v2") != 1 {
		t.Errorf("want one line about the broken version: %s", log)
	}

	reload(vaultsYML("path: elsewhere"))
	if len(stores.all()) != 3 {
		t.Fatal("another path opened no store")
	}
	wantAccepted(t, o, "ac-bob", "right")
	if stores.all()[2].readCount() != 1 {
		t.Error("the new store is not used")
	}

	stores.err = fmt.Errorf("%w: ca_cert holds no certificate", secretstore.ErrConfig)
	reload(vaultsYML("path: third"))
	wantAccepted(t, o, "ac-bob", "right")
	if log.count("level=ERROR", "can't be opened", "vault=kong-auth", "ca_cert holds no certificate") != 1 {
		t.Errorf("want one line about the store: %s", log)
	}
	stores.err = nil

	reload("vaults: []")
	if _, err := o.Lookup(t.Context(), "ac-bob", "right", nil); !errors.Is(err, secretstore.ErrConfig) {
		t.Errorf("an object that is gone from the file: %v", err)
	}
	reload(vaultsYML(""))
	wantAccepted(t, o, "ac-bob", "right")
}

func TestObjectThatCannotBeOpenedTellsWhoeverUsesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stores := &fakeStores{err: fmt.Errorf("%w: ca_cert holds no certificate", secretstore.ErrConfig)}
		r := newRegistry(t, stores, &logbook{}, "KONG_VAULT_HCV_TOKEN", "hvs.one")
		o, _ := mustOpen(t, r, "plugin", Config{Vault: "hcv"})
		if _, err := o.Lookup(t.Context(), "ac-alice", "right", nil); !errors.Is(err, secretstore.ErrConfig) {
			t.Errorf("Lookup = %v", err)
		}
	})
}

// Kubernetes mounts a ConfigMap as links to a folder that it swaps.
func TestFileIsWatched(t *testing.T) {
	dir := t.TempDir()
	version := func(n int, content string) {
		t.Helper()
		data := fmt.Sprint("..", n)
		if err := os.Mkdir(filepath.Join(dir, data), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, data, "vaults.yml"), content)
		link := filepath.Join(dir, "..data")
		if err := errors.Join(os.Symlink(data, link+".new"), os.Rename(link+".new", link)); err != nil {
			t.Fatal(err)
		}
	}
	version(1, vaultsYML("ttl: 1"))
	path := filepath.Join(dir, "vaults.yml")
	if err := os.Symlink("..data/vaults.yml", path); err != nil {
		t.Fatal(err)
	}
	log := &logbook{lines: make(chan struct{}, 100)}
	r := newRegistry(t, &fakeStores{}, log, "VAULT_AUTH_VAULTS_FILE", path)
	o, _ := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
	for n := 2; n < 4; n++ {
		<-log.lines // of the version before
		version(n, vaultsYML(fmt.Sprint("ttl: ", n)))
	}
	<-log.lines
	if got := o.bound.Load().policy.TTL.Seconds(); got != 3 {
		t.Errorf("ttl %v, want 3", got)
	}
}

// If the file is a link, its target is edited.
func TestFileThatIsALinkIsWatched(t *testing.T) {
	path, target := filepath.Join(t.TempDir(), "vaults.yml"), filepath.Join(t.TempDir(), "kong.yml")
	writeFile(t, target, vaultsYML("ttl: 1"))
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	log := &logbook{lines: make(chan struct{}, 100)}
	r := newRegistry(t, &fakeStores{}, log, "VAULT_AUTH_VAULTS_FILE", path)
	o, _ := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
	<-log.lines
	writeFile(t, target+".new", vaultsYML("ttl: 2"))
	if err := os.Rename(target+".new", target); err != nil {
		t.Fatal(err)
	}
	<-log.lines
	if got := o.bound.Load().policy.TTL.Seconds(); got != 2 {
		t.Errorf("ttl %v, want 2", got)
	}
}

// When the call has returned, objects are as the file has them.
func TestVaultsFileIsReadOnDemand(t *testing.T) {
	stores := &fakeStores{records: someRecords()}
	r, path := fileRegistry(t, stores, &logbook{}, "vaults: []")
	r.node.stop() // nothing else reads it
	writeFile(t, path, vaultsYML("host: 127.0.0.2"))
	if err := r.ReadVaultsFile(path); err != nil {
		t.Fatal(err)
	}
	o, _ := mustOpen(t, r, "plugin", Config{Vault: "kong-auth"})
	wantAccepted(t, o, "ac-alice", "right")
	writeFile(t, path, vaultsYML("hots: 127.0.0.2"))
	for name, err := range map[string]error{
		"invalid":      r.ReadVaultsFile(path),
		"another file": r.ReadVaultsFile(path + ".yml"),
		"no file":      newRegistry(t, stores, &logbook{}).ReadVaultsFile(path),
	} {
		if !errors.Is(err, secretstore.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantAccepted(t, o, "ac-alice", "right")
}
