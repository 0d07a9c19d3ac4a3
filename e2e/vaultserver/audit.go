package vaultserver

import (
	"bufio"
	"context"
	"encoding/json"
	"os"

	"github.com/hashicorp/vault/api"
)

func (s *Server) enableAudit(ctx context.Context) error {
	return s.client.Sys().EnableAuditWithOptionsWithContext(ctx, "file", &api.EnableAuditOptions{
		Type:    "file",
		Options: map[string]string{"file_path": s.path("audit.log")},
	})
}

// auditLine is what is looked at in a line of Vault's audit file.
type auditLine struct {
	Type    string `json:"type"`
	Request struct {
		Operation string `json:"operation"`
		Path      string `json:"path"`
	} `json:"request"`
}

// Reads counts the reads of a path that have reached the server since its
// start, by its audit file. Vault writes there before it answers, so every
// read that was answered is counted.
func (s *Server) Reads(path string) (int, error) {
	f, err := os.Open(s.path("audit.log"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n := 0
	for lines := json.NewDecoder(bufio.NewReader(f)); lines.More(); {
		var line auditLine
		if err := lines.Decode(&line); err != nil {
			return 0, err
		}
		if line.Type == "request" && line.Request.Operation == "read" && line.Request.Path == path {
			n++
		}
	}
	return n, nil
}
