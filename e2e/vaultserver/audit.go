package vaultserver

import (
	"bytes"
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

// Request is the part of a request in Vault's audit file that tests look at.
type Request struct {
	Operation string              `json:"operation"`
	Path      string              `json:"path"`
	Headers   map[string][]string `json:"headers"` // those of AuditHeader, names in lower case
}

// Requests are the requests for an operation (read, update, …) and a path that
// have reached the server since its start, by its audit file. Vault writes there
// before it answers, so every request that was answered is among them.
func (s *Server) Requests(operation, path string) ([]Request, error) {
	log, err := os.ReadFile(s.path("audit.log"))
	if err != nil {
		return nil, err
	}
	var found []Request
	for text := range bytes.Lines(log) {
		if !bytes.HasSuffix(text, []byte("\n")) {
			break // it is still being written
		}
		if !bytes.Contains(text, []byte(path)) {
			continue
		}
		var line struct {
			Type    string
			Request Request
		}
		if err := json.Unmarshal(text, &line); err != nil {
			return nil, err
		}
		if line.Type == "request" && line.Request.Operation == operation && line.Request.Path == path {
			found = append(found, line.Request)
		}
	}
	return found, nil
}

// Reads counts the reads of a path that have reached the server.
func (s *Server) Reads(path string) (int, error) {
	reads, err := s.Requests("read", path)
	return len(reads), err
}

// AuditHeader makes Vault write a header of requests to the audit file from now on.
func (s *Server) AuditHeader(ctx context.Context, name string) error {
	_, err := s.client.Logical().WriteWithContext(ctx, "sys/config/auditing/request-headers/"+name, map[string]any{"hmac": false})
	return err
}
