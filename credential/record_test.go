package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestRecordNeverShowsItself(t *testing.T) {
	r := Record{
		AccessToken: "hunter-access",
		Secret:      Secret{Token: "hunter-secret"},
		Previous:    Secret{Token: "hunter-previous"},
		Consumer:    Consumer{Username: "hunter-consumer"},
	}
	var out bytes.Buffer
	for _, v := range []any{r, &r, []Record{r}, map[string]*Record{"r": &r}, struct{ R Record }{r}, r.Secret, &r.Previous, []Secret{r.Secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%f", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		if err := json.NewEncoder(&out).Encode(v); err != nil {
			t.Error(err)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Error("text", "record", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Error("json", "record", v)
	}
	hex := fmt.Sprintf("%x", "hunter")
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "hunter") || strings.Contains(line, hex) {
			t.Errorf("shown: %s", line)
		}
	}
}

func TestRotate(t *testing.T) {
	first, second := PlainSecret("first"), HashedSecret("second")
	for _, grace := range []time.Duration{-time.Hour, 0, time.Hour} {
		r := Record{Secret: first, Previous: PlainSecret("older"), PreviousExpiresAt: now.Add(time.Minute)}
		r.Rotate(second, now.Add(grace), now)
		want := Record{Secret: second, UpdatedAt: now}
		if grace > 0 {
			want.Previous, want.PreviousExpiresAt = first, now.Add(grace)
		}
		if diff := diffRecords(&want, &r); diff != "" {
			t.Errorf("a grace of %v: %s", grace, diff)
		}
	}
}
