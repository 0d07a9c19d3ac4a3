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
)

// TestPodRunsThePluginServerBesideKong: Kubernetes knows every field, and the plugin
// server is a sidecar that is ready before Kong starts, on a socket that both know.
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

// TestPodWritesToItsVolumesOnly: the user that a pod runs as needn't be the image's user
// kong, whom Kong's prefix in the image belongs to, and whose number has changed before.
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

// env is the value of a variable in a container's environment.
func env(c core.Container, name string) string {
	for _, e := range c.Env {
		if e.Name == name {
			return e.Value
		}
	}
	return ""
}
