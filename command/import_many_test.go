package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kong-vault-auth/credential"
)

// TestImportOfManyPairs into a real Vault, killed half-way and started again. It takes
// minutes, so it is run by hand, and says how fast it was:
//
//	IMPORT_PAIRS=100000 VAULTD_BIN=… go test -v -timeout 1h -run ManyPairs ./command
func TestImportOfManyPairs(t *testing.T) {
	pairs, _ := strconv.Atoi(os.Getenv("IMPORT_PAIRS"))
	if pairs == 0 {
		t.Skip("takes minutes: IMPORT_PAIRS says how many pairs")
	}
	store := vaultToImportInto(t)
	file, secrets := fileOfPairs(t, pairs)

	cmd, _ := importCommand(t, append(store.env, "TERMINAL=1"), file)
	progress, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killedAt := awaitDone(t, bufio.NewScanner(progress), pairs/2)
	memory := highWater(t, cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	_ = cmd.Wait()
	t.Logf("killed after %d pairs and %v: %.0f a second, VmHWM %s", killedAt, took.Round(time.Second), float64(killedAt)/took.Seconds(), memory)

	for _, run := range []string{"started again", "once more, with nothing to do"} {
		cmd, out := importCommand(t, store.env, file)
		began = time.Now()
		if err := cmd.Run(); err != nil {
			t.Fatal(err, out)
		}
		took = time.Since(began)
		var got summary
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatal(err, out)
		}
		if got.Created+got.Unchanged != pairs || got.Unchanged < killedAt {
			t.Errorf("%s: %+v", run, got)
		}
		t.Logf("%s: %d unchanged, %d created in %v: %.0f a second, maximum resident %d kB", run, got.Unchanged, got.Created,
			took.Round(time.Second), float64(pairs)/took.Seconds(), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss)
	}
	store.mustHaveOnce(t, secrets)
}

// fileOfPairs writes a file of pairs, and returns their secret tokens.
func fileOfPairs(t *testing.T, n int) (name string, secrets map[string]string) {
	t.Helper()
	secrets = map[string]string{}
	var lines strings.Builder
	for range n {
		accessToken, secretToken, err := credential.Generate(credential.Prefix)
		if err != nil {
			t.Fatal(err)
		}
		secrets[accessToken] = secretToken
		fmt.Fprintf(&lines, `{"access_token":%q,"secret_token":%q,"consumer":{"username":"mobile-app"},"created_at":1700000000}`+"\n", accessToken, secretToken)
	}
	name = filepath.Join(t.TempDir(), "pairs.jsonl")
	if err := os.WriteFile(name, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return name, secrets
}

var doneSoFar = regexp.MustCompile(`(\d+) done`)

// awaitDone waits until the progress says that so many are done, and returns how many are.
func awaitDone(t *testing.T, progress *bufio.Scanner, n int) int {
	t.Helper()
	progress.Split(bufio.ScanRunes)
	for shown := ""; progress.Scan(); {
		if shown += progress.Text(); progress.Text() != "\r" {
			continue
		}
		if m := doneSoFar.FindStringSubmatch(shown); m != nil {
			if done, _ := strconv.Atoi(m[1]); done >= n {
				return done
			}
		}
		shown = ""
	}
	t.Fatalf("it has ended before %d were done", n)
	return 0
}

var vmHWM = regexp.MustCompile(`VmHWM:\s+(.*)`)

// highWater is the most memory that a process has had so far.
func highWater(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := vmHWM.FindSubmatch(status)
	if m == nil {
		t.Fatal("no VmHWM")
	}
	return string(m[1])
}
