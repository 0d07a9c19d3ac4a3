package command

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"kong-vault-auth/credential"
)

// The import goes to a real Vault, is killed half-way and started again. It takes minutes,
// so it is run by hand, and logs how fast it was:
//
//	IMPORT_PAIRS=100000 VAULTD_BIN=… go test -v -timeout 1h -run ManyPairs ./command
func TestImportOfManyPairs(t *testing.T) {
	pairs, _ := strconv.Atoi(os.Getenv("IMPORT_PAIRS"))
	if pairs == 0 {
		t.Skip("takes minutes: IMPORT_PAIRS says how many pairs")
	}
	store := vaultToImportInto(t)
	file, secrets := fileOfPairs(t, pairs)

	killed, took := runImport(t, store, file, pairs/2)
	t.Logf("killed after %d pairs and %v: %.0f a second, VmHWM %s", killed.done, took.Round(time.Second), float64(killed.done)/took.Seconds(), killed.memory)
	for _, run := range []string{"started again", "once more, with nothing to do"} {
		got, took := runImport(t, store, file, 0)
		if got.Created+got.Unchanged != pairs || got.Unchanged < killed.done {
			t.Errorf("%s: %+v", run, got)
		}
		t.Logf("%s: %d unchanged, %d created in %v: %.0f a second, VmHWM %s", run, got.Unchanged, got.Created,
			took.Round(time.Second), float64(pairs)/took.Seconds(), got.memory)
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

// manyImported is what one run has done.
type manyImported struct {
	summary
	done   int    // by the progress
	memory string // the most memory that the process has used, at its last progress
}

var doneSoFar = regexp.MustCompile(`(\d+) done`)

// runImport imports the file, and kills that once so many are done, unless it is 0.
func runImport(t *testing.T, store importStore, file string, killAfter int) (got manyImported, took time.Duration) {
	t.Helper()
	cmd, out := importCommand(t, append(store.env, "TERMINAL=1"), file)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	progress := bufio.NewScanner(stderr)
	progress.Split(scanProgress)
	killed := false
	for progress.Scan() {
		if m := doneSoFar.FindSubmatch(progress.Bytes()); m != nil && !killed {
			got.done, _ = strconv.Atoi(string(m[1]))
			got.memory = cmp.Or(highWater(cmd.Process.Pid), got.memory)
		}
		if killAfter > 0 && got.done >= killAfter && !killed {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	took = time.Since(began)
	switch {
	case killAfter > 0 && !killed:
		t.Fatalf("it has ended before %d were done: %v", killAfter, err)
	case killAfter == 0 && err != nil:
		t.Fatal(err, out)
	case killAfter == 0:
		if err := json.Unmarshal(out.Bytes(), &got.summary); err != nil {
			t.Fatal(err, out)
		}
	}
	return got, took
}

// scanProgress splits at carriage returns, each of which begins another state of the
// progress.
func scanProgress(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\r'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

var vmHWM = regexp.MustCompile(`VmHWM:\s+(.*)`)

// highWater is the most memory that a process has had so far; empty if it has ended.
func highWater(pid int) string {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	m := vmHWM.FindSubmatch(status)
	if m == nil {
		return ""
	}
	return string(m[1])
}
