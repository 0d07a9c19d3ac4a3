package vault

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

// shelf is the settings of a store that this package has never heard of.
type shelf struct {
	Board string `json:"board" kong:"required;len_min=1" doc:"Which board the secrets lie on."`
	secretstore.Limits
}

func (*shelf) Kind() string                                    { return "shelf" }
func (*shelf) HoldsCredential(secretstore.Config, string) bool { return false }

func (s *shelf) Place() string      { return "shelf at " + s.Board }
func (s *shelf) Identity() []string { return []string{"shelf", s.Board} }
func (s *shelf) FromEnvironment(set func(string) bool, getenv func(string) string) error {
	if !set("board") {
		s.Board = getenv("SHELF")
	}
	return nil
}

func (s *shelf) Check(p *secretstore.Problems) {
	if s.Board == "top" {
		p.Add("board", "nobody reaches it")
	}
}

func TestAnotherStoreIsAnotherKindAndNothingElse(t *testing.T) {
	stores := &fakeStores{records: someRecords()}
	kinds := kinds{{Name: "shelf", Variable: "SHELF", New: func() secretstore.Config { return &shelf{} }, Open: stores.open}}
	for about, tt := range map[string]struct {
		env   []string
		c     Config
		board string
		err   string
	}{
		"environment":  {[]string{"KONG_VAULT_SHELF_BOARD", "two"}, Config{Vault: "shelf"}, "two", ""},
		"its own tool": {[]string{"SHELF", "three"}, Config{Vault: "shelf"}, "three", ""},
		"inline":       {nil, Config{Inline: &shelf{Board: "four", Limits: secretstore.Limits{MaxTTL: 1, MaxLookupsPerSecond: 1}}}, "four", ""},
		"wrong":        {[]string{"SHELF", "top"}, Config{Vault: "shelf"}, "", `vault object configuration of "shelf": board: nobody reaches it`},
		"off": {[]string{"VAULT_AUTH_INLINE", "off"}, Config{Inline: &shelf{Board: "four"}}, "",
			"vault object configuration: vault objects inside a plugin's configuration (config.shelf) are switched off on this node (VAULT_AUTH_INLINE=off): name an object of the node in config.vault"},
	} {
		t.Run(about, func(t *testing.T) {
			r := NewRegistry(kinds, Options{Getenv: environ(tt.env...)})
			defer r.Close()
			o, release, err := r.Open("plugin", tt.c)
			if err == nil {
				defer release()
				err = o.Usable()
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.err, got); diff != "" {
				t.Fatal(diff)
			}
			if tt.err != "" {
				return
			}
			wantAccepted(t, o, "ac-alice", "right")
			all := stores.all()
			if c := all[len(all)-1].config.(*shelf); c.Board != tt.board || c.MaxTTL == 0 {
				t.Errorf("opened with %+v", c)
			}
		})
	}
}
