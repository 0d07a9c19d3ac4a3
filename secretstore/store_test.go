package secretstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestReasonsOfAnswers(t *testing.T) {
	absent, conflict := &Absent{Reason: ReasonDeleted}, &Conflict{Reason: ConflictDeleted}
	for name, tt := range map[string]struct {
		err                          error
		absent, conflict             bool // for the reason "deleted"
		absentOfOther, conflictOther bool // for another reason
	}{
		"no error":           {},
		"something else":     {err: errors.New("deleted")},
		"absent":             {err: absent, absent: true},
		"wrapped absent":     {err: fmt.Errorf("read: %w", absent), absent: true},
		"absent, otherwise":  {err: &Absent{Reason: ReasonNotFound}, absentOfOther: true},
		"conflict":           {err: conflict, conflict: true},
		"a wrapped conflict": {err: fmt.Errorf("create: %w", conflict), conflict: true},
		"another conflict":   {err: &Conflict{Reason: ConflictExists}, conflictOther: true},
	} {
		got := [...]bool{IsAbsent(tt.err, ReasonDeleted), IsConflict(tt.err, ConflictDeleted), IsAbsent(tt.err, ReasonNotFound), IsConflict(tt.err, ConflictExists)}
		if want := [...]bool{tt.absent, tt.conflict, tt.absentOfOther, tt.conflictOther}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestDocumentNeverShowsItsRecord(t *testing.T) {
	d := Document{Record: []byte("hunter-record")}
	var out bytes.Buffer
	for _, v := range []any{d, &d, []Document{d}, struct{ D *Document }{&d}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Error(err)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Error("text", "document", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Error("json", "document", v)
	}
	for _, shown := range []string{"hunter", fmt.Sprintf("%x", d.Record), fmt.Sprint(d.Record), "aHVudGVy"} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("%s is in %s", shown, &out)
		}
	}
}
