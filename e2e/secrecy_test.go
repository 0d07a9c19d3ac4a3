package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/unixsocket/sockettest"
)

// nobody is the user of programs in tests that root runs, since root may read everything.
const nobody = 65534

// asNobody has an ordinary user run a command.
func asNobody(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	return cmd
}

// folderOfNobody is a folder in which an ordinary user may write.
func folderOfNobody(t *testing.T) string {
	t.Helper()
	dir := sockettest.Dir(t)
	if os.Getuid() == 0 {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestOthersOfItsUserCannotReadThePluginServer, nor does it dump core. Another program serves as
// the control: it can be read.
func TestOthersOfItsUserCannotReadThePluginServer(t *testing.T) {
	dir := folderOfNobody(t)
	binary, err := os.ReadFile(filepath.Join(plugins, "vault-auth"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "vault-auth") // nobody may enter this folder
	if err := os.WriteFile(path, binary, 0o755); err != nil {
		t.Fatal(err)
	}
	socket, metrics := filepath.Join(dir, "s"), filepath.Join(dir, "m")
	for _, tt := range []struct {
		name     string
		command  string
		listens  bool
		readable bool
	}{
		{"another program", "sleep 600", false, true},
		{"the plugin server", path + " -socket " + socket, true, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := asNobody(exec.Command("/bin/sh", "-c", "ulimit -c unlimited 2>/dev/null; exec "+tt.command))
			cmd.Dir = folderOfNobody(t)
			cmd.Env = append(cmd.Env, "VAULT_TOKEN=hvs.secret", "VAULT_AUTH_METRICS_LISTEN=unix:"+metrics, "GOTRACEBACK=crash", quickExit)
			var output bytes.Buffer
			cmd.Stdout, cmd.Stderr = &output, &output
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := false
			defer func() {
				if !ended {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}
			}()
			proc := "/proc/" + strconv.Itoa(cmd.Process.Pid)
			program.Eventually(t, "it runs", func() bool {
				line, _ := os.ReadFile(proc + "/cmdline")
				if !tt.listens {
					return strings.HasPrefix(string(line), "sleep")
				}
				return program.Listens("unix", socket)
			})
			for _, read := range []string{"cat environ", "cat maps", "ls fd", "readlink cwd"} {
				program, file, _ := strings.Cut(read, " ")
				out, err := asNobody(exec.Command(program, filepath.Join(proc, file))).CombinedOutput()
				if readable := err == nil; readable != tt.readable {
					t.Errorf("%s %s/%s: %v, %.100q", program, proc, file, err, out)
				}
			}
			if tt.listens { // it can still read its own figures
				tells(t, metrics)
				for _, metric := range []string{"process_open_fds", "process_resident_memory_bytes", "process_max_fds", "process_start_time_seconds"} {
					if !strings.Contains(scrape(t, metrics), "\n"+metric+" ") {
						t.Errorf("the metric %s is missing", metric)
					}
				}
			}

			if err := cmd.Process.Signal(syscall.SIGABRT); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its error names the signal
			ended = true
			status := cmd.ProcessState.Sys().(syscall.WaitStatus)
			switch {
			case !status.Signaled():
				t.Errorf("it ended with %v\n%s", cmd.ProcessState, &output)
			case tt.readable && !status.CoreDump():
				t.Log("programs dump no core on this machine")
			case !tt.readable && status.CoreDump():
				t.Error("it has dumped core")
			}
		})
	}
}

// TestProgramsThatItStartsGetNoSecrets: DefaultAzureCredential ends at az.
func TestProgramsThatItStartsGetNoSecrets(t *testing.T) {
	a := newAzure(t)
	p := a.credential(nil)
	bin := t.TempDir()
	seen := filepath.Join(bin, "environment")
	a.must(os.WriteFile(filepath.Join(bin, "az"), []byte("#!/bin/sh\nenv > "+seen+".new && mv "+seen+".new "+seen+"\nexit 1\n"), 0o755))
	env := []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "AZURE_TOKEN_CREDENTIALS=AzureCLICredential", "AZURE_TENANT_ID=" + akvsim.Tenant,
		"VAULT_TOKEN=hvs.secret", "ORDERS_CLIENT_SECRET=s3cret", "HCV_TOKEN=hvs.other-secret",
	}
	g := a.guard(theNode, object{"credentials_prefix": "MINE"}, env...)
	if got := a.ask(g, p); got.Status != 503 {
		t.Errorf("%d %s", got.Status, got.Body)
	}
	program.Eventually(t, "az is asked for a token", func() bool { _, err := os.Stat(seen); return err == nil })
	b, err := os.ReadFile(seen)
	a.must(err)
	for _, line := range append(env[:3:3], a.env...) { // what az and the SDK need
		if !strings.Contains(string(b), line+"\n") {
			t.Errorf("az did not get %s:\n%s", line, b)
		}
	}
	for _, secret := range []string{"VAULT", "s3cret", "secret"} {
		if strings.Contains(string(b), secret) {
			t.Errorf("az got %s:\n%s", secret, b)
		}
	}
}
