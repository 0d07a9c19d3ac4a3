package packaging

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/fleet"
)

// TestPodRunsThePluginServerBesideKong: Kubernetes knows every field, and the plugin server is a
// sidecar that is ready before Kong starts, on a socket in a volume of both.
func TestPodRunsThePluginServerBesideKong(t *testing.T) {
	var d apps.Deployment
	if err := yaml.UnmarshalStrict([]byte(read(t, "deploy/kubernetes.yaml")), &d); err != nil {
		t.Fatal(err)
	}
	conf, _ := kongConf(t)
	pod := d.Spec.Template.Spec
	server, kong := pod.InitContainers[0], pod.Containers[0]
	if server.RestartPolicy == nil || *server.RestartPolicy != core.ContainerRestartPolicyAlways {
		t.Error("the plugin server is no sidecar: Kong would wait for its end")
	}
	if server.Image != kong.Image {
		t.Errorf("the plugin server's image is %s, Kong's %s", server.Image, kong.Image)
	}
	atKongsSocket(t, "the sidecar", server.Command)
	for _, probe := range []*core.Probe{server.StartupProbe, server.LivenessProbe} {
		atKongsSocket(t, "the sidecar's probe", probe.Exec.Command)
	}
	want := core.VolumeMount{Name: pod.Volumes[0].Name, MountPath: path.Dir(conf["pluginserver_vault_auth_socket"])}
	if pod.Volumes[0].EmptyDir == nil {
		t.Error("the socket's volume outlives the pod")
	}
	if diff := cmp.Diff([]core.VolumeMount{want}, server.VolumeMounts); diff != "" {
		t.Errorf("the plugin server's volumes:\n%s", diff)
	}
	want.ReadOnly = true
	if !slices.ContainsFunc(kong.VolumeMounts, func(v core.VolumeMount) bool { return cmp.Equal(v, want) }) {
		t.Errorf("Kong has volumes %+v", kong.VolumeMounts)
	}
	listen, asked := env(kong, "KONG_STATUS_LISTEN"), env(server, "VAULT_AUTH_KONG_STATUS")
	if _, port, _ := strings.Cut(listen, ":"); asked != "http://127.0.0.1:"+port {
		t.Errorf("Kong's Status API listens on %q, and the plugin server asks %q", listen, asked)
	}
	for _, e := range kong.Env {
		if _, again := parseDockerfile(t).env[e.Name]; again {
			t.Errorf("%s is in the image and in the pod", e.Name)
		}
	}
}

// TestPodWritesToItsVolumesOnly: a pod's user needn't be the image's user kong, who owns Kong's
// prefix in the image, and whose number has changed before.
func TestPodWritesToItsVolumesOnly(t *testing.T) {
	var d apps.Deployment
	if err := yaml.UnmarshalStrict([]byte(read(t, "deploy/kubernetes.yaml")), &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		if s := c.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s may write to its image", c.Name)
		}
	}
	writable := map[string]bool{}
	for _, m := range pod.Containers[0].VolumeMounts {
		empty := slices.ContainsFunc(pod.Volumes, func(v core.Volume) bool { return v.Name == m.Name && v.EmptyDir != nil })
		writable[m.MountPath] = empty && !m.ReadOnly
	}
	// kong's command line puts a file into /tmp.
	for _, folder := range []string{env(pod.Containers[0], "KONG_PREFIX"), "/tmp"} {
		if !writable[folder] {
			t.Errorf("Kong can't write to %q", folder)
		}
	}
}

// TestPodsHearOfEachOtherWithTheFleetLines, whose files are in the Secret that the file's first
// lines create.
func TestPodsHearOfEachOtherWithTheFleetLines(t *testing.T) {
	var d apps.Deployment
	text := strings.ReplaceAll(read(t, "deploy/kubernetes.yaml"), "#fleet ", "")
	if err := yaml.UnmarshalStrict([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	server := pod.InitContainers[0]
	getenv := func(name string) string { return env(server, name) }
	if s, err := fleet.ParseSettings(getenv); err != nil || s == nil || s.Plain() {
		t.Errorf("%+v, %v", s, err)
	}
	if err := blocklist.CheckSettings(getenv); err != nil {
		t.Error(err)
	}
	i := slices.IndexFunc(server.VolumeMounts, func(m core.VolumeMount) bool { return m.Name == "fleet" })
	j := slices.IndexFunc(pod.Volumes, func(v core.Volume) bool { return v.Name == "fleet" })
	if i < 0 || j < 0 || pod.Volumes[j].Secret == nil {
		t.Fatalf("there is no volume of the Secret: %+v", server.VolumeMounts)
	}
	if secret := pod.Volumes[j].Secret; *secret.DefaultMode != 0o440 || !strings.Contains(text, "create secret generic "+secret.SecretName+" ") {
		t.Errorf("%+v", secret)
	}
	for _, name := range []string{blocklist.KeyVariable, fleet.PasswordVariable, fleet.CAVariable} {
		dir, file := path.Split(getenv(name))
		if path.Clean(dir) != server.VolumeMounts[i].MountPath || !strings.Contains(text, "--from-file="+file) && !strings.Contains(text, "--from-literal="+file+"=") {
			t.Errorf("%s names %s, which is in no Secret", name, getenv(name))
		}
	}
	if folder := path.Dir(getenv(blocklist.FileVariable)); folder != server.VolumeMounts[0].MountPath || server.VolumeMounts[0].ReadOnly {
		t.Errorf("blocks can't be written to %s", folder)
	}
}

// env is the value of a variable in a container's environment.
func env(c core.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}
