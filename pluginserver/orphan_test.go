package pluginserver

import (
	"os"
	"testing"
)

func TestAPipeThatNobodyReadsIsTold(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if unread(w) {
		t.Error("the pipe is read")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !unread(w) {
		t.Error("nobody reads the pipe")
	}
}

func TestAnotherParentIsTold(t *testing.T) {
	if !orphaned(os.Getppid() + 1) {
		t.Error("the parent is another one")
	}
}
