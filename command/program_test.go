package command

import (
	"bytes"
	"testing"
)

// inProcess is a program that writes to buffers.
func inProcess() (p *Program, stdout, stderr *bytes.Buffer) {
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return &Program{Name: "vault-auth", Version: "1.2.3", Stdin: &bytes.Buffer{}, Stdout: stdout, Stderr: stderr}, stdout, stderr
}

func TestNames(t *testing.T) {
	for first, want := range map[string]bool{
		"version": true, "help": true, "completion": true, "__complete": true, "__completeNoDesc": true,
		"": false, "-version": false, "--help": false, "-dump": false, "Version": false, "versions": false,
	} {
		p, _, _ := inProcess()
		if got := p.Names([]string{first}); got != want {
			t.Errorf("%q: %v", first, got)
		}
	}
	if p, _, _ := inProcess(); p.Names(nil) {
		t.Error("no argument at all is taken for a subcommand")
	}
}

func TestProgramWritesOnlyWhereItIsTold(t *testing.T) {
	p, stdout, stderr := inProcess()
	if status := p.Run(t.Context(), []string{"version"}); status != 0 || stdout.String() != "1.2.3\n" || stderr.Len() > 0 {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
	p, stdout, stderr = inProcess()
	if status := p.Run(t.Context(), []string{"version", "now"}); status != 2 || stdout.Len() > 0 || stderr.Len() == 0 {
		t.Errorf("status %d, %q, %q", status, stdout, stderr)
	}
}
