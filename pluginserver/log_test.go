package pluginserver

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func texts(lines []logLine) []string {
	var s []string
	for _, l := range lines {
		s = append(s, l.Level.String()+" "+l.Text)
	}
	return s
}

func TestLogLeavesOutWhatItSaidWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := NewLog(&out, slog.LevelInfo)
		log := slog.New(l)
		for range 5 {
			log.Warn("m", "vault", "a", "reason", "x", "n", 1)
		}
		log.Warn("m", "vault", "b", "reason", "x")
		log.Warn("m", "vault", "b", "reason", "x", "credential", "c")
		log.Error("m", "vault", "a", "reason", "x")
		log.Info("only on standard error")
		log.Debug("below the level")
		time.Sleep(time.Minute) // virtual
		log.Warn("m", "vault", "a", "reason", "x", "n", 2)
		want := []string{
			"WARN m vault=a reason=x n=1", "WARN m vault=b reason=x", "WARN m vault=b reason=x credential=c", "ERROR m vault=a reason=x",
			"WARN m vault=a reason=x n=2 repeated=4",
		}
		if diff := cmp.Diff(want, texts(l.take())); diff != "" {
			t.Error(diff)
		}
		if l.take() != nil {
			t.Error("lines are handed out twice")
		}
		if n := l.LeftOut(); n != 4 {
			t.Errorf("%d lines were left out", n)
		}
		if got := out.String(); !strings.Contains(got, "INFO only on standard error\n") || strings.Contains(got, "below") {
			t.Errorf("standard error: %s", got)
		}
	})
}

func TestLogKeepsTheNewestLines(t *testing.T) {
	l := NewLog(&bytes.Buffer{}, slog.LevelInfo)
	for i := range maxWaiting + 10 {
		slog.New(l).Warn(fmt.Sprint("line ", i))
	}
	got := texts(l.take())
	if len(got) != maxWaiting+1 || got[0] != "WARN line 10" || got[maxWaiting] != "WARN 10 earlier lines are on standard error only" {
		t.Errorf("%d lines: %q … %q", len(got), got[0], got[len(got)-1])
	}
}

func TestLogKindsAreBounded(t *testing.T) {
	l := NewLog(&bytes.Buffer{}, slog.LevelInfo)
	for i := range 3 * maxKinds {
		slog.New(l).Info("m", "reason", fmt.Sprint(i))
	}
	if n := len(l.shared.kinds); n > maxKinds {
		t.Errorf("%d kinds are remembered", n)
	}
}

func TestLogLinesAreOneLineEach(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewLog(&out, slog.LevelInfo))
	log.With("a", "x\ny").WithGroup("g").Info("two\r\nlines\x00", "b", "q \"z\"", slog.Any("c", fmt.Errorf("e\x1b[31m")))
	const want = `INFO two\r\nlines\x00 a=x\ny g.b="q \"z\"" g.c=e\x1b[31m` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
