package command

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"kong-vault-auth/control"
	"kong-vault-auth/manage"
)

// result is a credential as a command writes it, one line of JSON or a table.
type result struct {
	Vault string `json:"vault"`
	manage.Entry
	ConsumerChecked *bool  `json:"consumer_checked,omitempty"`
	SecretToken     string `json:"secret_token,omitempty"` // on a terminal only
	SecretFile      string `json:"secret_file,omitempty"`
	WrappingToken   string `json:"wrapping_token,omitempty"`
	// Reach says where a change is in force.
	Reach        *control.Reach `json:"reach,omitempty"`
	consumerNote string
}

// issued is the result of a command that issued a secret token.
func (s *secretFlags) issued(v *manage.Vault, i *manage.Issued, h *handover) *result {
	r := &result{Vault: v.Name, Entry: i.Entry, SecretFile: s.file, WrappingToken: h.wrapping}
	if s.shown() {
		r.SecretToken = i.Reveal()
	}
	return r
}

func (p *Program) printJSON(v any) error {
	enc := json.NewEncoder(p.Stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// print writes one credential.
func (p *Program) print(r *result) error {
	if p.output == outputJSON {
		return p.printJSON(r)
	}
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s\t%s\n", name, clean(value))
		}
	}
	row("Access token", r.AccessToken)
	if r.SecretToken != "" {
		row("Secret token", r.SecretToken+"   (shown only now)")
	}
	row("Wrapping token", r.WrappingToken)
	if r.SecretFile != "" {
		row("Secret token in", r.SecretFile)
	}
	row("Vault object", r.Vault)
	row("Fingerprint", r.Fingerprint)
	if r.Consumer != nil {
		note := ""
		if r.consumerNote != "" {
			note = "   (" + r.consumerNote + ")"
		}
		row("Consumer", shownConsumer(r.Consumer.ID, r.Consumer.Username)+note)
	}
	row("Groups", strings.Join(r.Groups, ", "))
	row("Allowed from", strings.Join(r.AllowedIPs, ", "))
	row("State", p.state(&r.Entry))
	row("Stored as", r.Stored)
	if r.TTL > 0 {
		row("TTL", (time.Duration(r.TTL * float64(time.Second))).String())
	}
	row("Created", shownTime(r.CreatedAt)+by(r.CreatedBy))
	row("Updated", shownTime(r.UpdatedAt))
	row("Not before", shownTime(r.NotBefore))
	row("Expires", shownTime(r.ExpiresAt))
	row("Old secret until", shownTime(r.PreviousExpiresAt))
	row("Description", r.Description)
	row("Problem", r.Problem)
	if r.Reach != nil {
		row("Change", r.Reach.String())
	}
	return w.Flush()
}

// table writes many credentials, a line each.
type table struct {
	p *Program
	w *tabwriter.Writer
}

func (p *Program) newTable(columns ...string) *table {
	t := &table{p, tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.w, strings.Join(columns, "\t"))
	return t
}

func (t *table) row(cells ...string) {
	for i := range cells {
		if cells[i] = clean(cells[i]); cells[i] == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

// state is how the plugin would treat a credential now.
func (p *Program) state(e *manage.Entry) string {
	now := p.Now()
	switch {
	case e.Stored == "" && e.Problem != "":
		return "unusable"
	case !e.Enabled:
		return "disabled"
	case e.Expired(now):
		return "expired"
	case e.NotBefore != nil && now.Before(*e.NotBefore):
		return "not yet valid"
	}
	return "active"
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func shownTime(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.RFC3339)
}

// clean replaces control characters, so that text from a store can't control the
// terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || 0x7f <= r && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}

// moment is a time relative to now.
func moment(t, now time.Time) string {
	switch d := t.Sub(now).Round(time.Second); {
	case t.IsZero():
		return "-"
	case d <= 0:
		return (-d).String() + " ago"
	default:
		return "in " + d.String()
	}
}
