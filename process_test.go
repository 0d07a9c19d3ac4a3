package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestTheEnvironmentKeepsNoSecrets(t *testing.T) {
	before := os.Environ()
	t.Cleanup(func() {
		os.Clearenv()
		for _, line := range before {
			name, value, _ := strings.Cut(line, "=")
			os.Setenv(name, value)
		}
	})
	taken := []string{
		"VAULT_TOKEN", "VAULT_ADDR", "VAULT_AUTH_VAULTS_FILE", "KONG_VAULT_HCV_TOKEN", "KONG_VAULT_AZURE_CLIENT_SECRET",
		"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD", "AZURE_STORAGE_KEY",
		"ORDERS_CLIENT_SECRET", "HCV_TOKEN", "ANYTHING", "GOOGLE_API_KEY",
	}
	kept := []string{
		"PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "GODEBUG",
		"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "AZURE_TOKEN_CREDENTIALS",
		"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "MSI_ENDPOINT", "MSI_SECRET",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
		"GOOGLE_APPLICATION_CREDENTIALS", "GCE_METADATA_HOST",
	}
	os.Clearenv()
	for _, name := range append(taken, kept...) {
		os.Setenv(name, "the "+name)
	}
	getenv := takeEnv()
	want := map[string]string{}
	for _, name := range append(taken, kept...) {
		if got := getenv(name); got != "the "+name {
			t.Errorf("what was read of %s: %q", name, got)
		}
	}
	for _, name := range kept {
		want[name] = "the " + name
	}
	got := map[string]string{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		got[name] = value
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestEveryThreadIsABatchTask(t *testing.T) {
	schedule, err := scheduling("")
	if err != nil {
		t.Fatal(err)
	}
	idle := make(chan int)
	done := make(chan struct{})
	defer close(done)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}
		if err := unix.SchedSetAttr(0, attr, 0); err != nil {
			t.Error(err)
		}
		idle <- unix.Gettid()
		<-done
	}()
	chosen := <-idle
	if err := schedule(); err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			t.Fatal(err)
		}
		attr, err := unix.SchedGetAttr(id, 0)
		if err != nil {
			continue // it has ended
		}
		want := uint32(unix.SCHED_BATCH)
		if id == chosen {
			want = unix.SCHED_IDLE // as somebody has chosen
		}
		if attr.Policy != want {
			t.Errorf("thread %d has policy %d, want %d", id, attr.Policy, want)
		}
	}
}

func TestScheduling(t *testing.T) {
	for setting, want := range map[string]string{
		"normal": "",
		"batch":  "",
		"fifo":   `it must be batch or normal, not "fifo"`,
	} {
		got := ""
		if _, err := scheduling(setting); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", setting, got, want)
		}
	}
}
