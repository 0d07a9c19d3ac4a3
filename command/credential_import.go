package command

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/time/rate"

	"kong-vault-auth/control"
	"kong-vault-auth/credentialfile"
	"kong-vault-auth/manage"
)

// imports is the command "credential import" with its flags.
type imports struct {
	*credentials
	how         manage.Importing
	format      string
	consumers   string // a decK dump
	rate        float64
	recoverName bool
	purgeName   bool
	read        atomic.Int64 // bytes of the file
}

func (cr *credentials) importCommand() *cobra.Command {
	o := &imports{credentials: cr}
	name := cr.Name + " credential import"
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Store credentials of a file",
		Long: `Store the credentials of a file, or of standard input if it is "-".

The file has a record a line as JSON, or is CSV with the names of the record's fields in
its header, or holds Kong Enterprise's answers to GET /vault-auth/VAULT/credentials, one
page after the other. A secret token is stored as a hash if it looks generated; --hash
does so whatever it looks like, --plain stores the token itself. Otherwise a token that
doesn't look generated is refused, since it could be guessed from its hash.

Nothing that exists is overwritten without --replace. What the store has already counts as
done, so an import that was stopped, even by kill -9, continues when it is started again. A
credential that fails is reported by a line of JSON, the others are stored, and the exit
status is 1. --check writes nothing. It reports what would fail, and which credentials the
plugin would treat differently from what the file says.`,
		Example: "  " + name + " pairs.jsonl --check\n" +
			"  " + name + " pairs.jsonl\n" +
			"  " + name + " pairs.csv --plain --replace\n" +
			"  " + name + " kong-enterprise.json --consumers kong.yaml",
		Args: cobra.ExactArgs(1),
		RunE: cr.run(func(ctx context.Context, args []string) error { return o.run(ctx, args[0]) }),
	}
	f := c.Flags()
	f.StringVar(&o.format, "format", "", "`format` of the file: json, csv or kong; by default the one it looks like")
	f.BoolVar(&o.how.DryRun, "check", false, "write nothing, and say what would not work")
	f.BoolVar(&o.how.Hash, "hash", false, "store hashes of all secret tokens, also of those that could be guessed")
	f.BoolVar(&o.how.Plain, "plain", false, "store the secret tokens themselves, as Kong Enterprise needs them")
	f.BoolVar(&o.how.Replace, "replace", false, "overwrite credentials that exist and differ")
	f.StringVar(&o.consumers, "consumers", "", "decK dump, a `file` that says which consumers there are")
	f.Float64Var(&o.rate, "rate", 0, "`credentials` a second to store at most; by default what the store allows, 30 in Azure")
	f.BoolVar(&o.recoverName, "recover", false, "if a deleted secret holds a name, recover it and make the credential its newest version")
	f.BoolVar(&o.purgeName, "purge", false, "if a deleted secret holds a name, remove it for good")
	c.MarkFlagsMutuallyExclusive("hash", "plain")
	c.MarkFlagsMutuallyExclusive("recover", "purge")
	return c
}

func (o *imports) run(ctx context.Context, name string) error {
	if o.rate != 0 && !(o.rate >= 1) {
		return usage("--rate must be at least 1 credential a second")
	}
	find, err := o.finder(o.consumers)
	if err != nil {
		return err
	}
	in, size, err := o.open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	file, err := credentialfile.NewReader(&counted{in, &o.read}, credentialfile.Format(o.format))
	if err != nil {
		return usage("%s: %v", name, err)
	}
	return o.with(func(v *manage.Vault) error {
		if err := o.complete(); err != nil {
			return err
		}
		t := &tally{imports: o, vault: v, size: size, began: o.Now()}
		b := &manage.Bulk{Vault: v, How: o.how, File: file, Consumer: find.find, Timeout: o.timeout, Report: t.report}
		err := b.Run(ctx)
		if !o.how.DryRun {
			t.reach = o.changedAll(context.WithoutCancel(ctx), v)
		}
		return cmp.Or(t.end(find.checked()), err, t.failure())
	})
}

// open opens the file and returns its size, or 0 if that isn't known.
func (o *imports) open(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(o.Stdin), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, usageError{err}
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return f, 0, err
	}
	return f, info.Size(), nil
}

// complete sets how credentials are stored.
func (o *imports) complete() error {
	switch {
	case o.recoverName:
		o.how.Deleted = manage.RecoverDeleted
	case o.purgeName:
		o.how.Deleted = manage.PurgeDeleted
	}
	d, object, err := o.chosen()
	if err != nil {
		return err
	}
	if perSecond := cmp.Or(o.rate, d.CreateLimit(object)); perSecond > 0 {
		o.how.Turn = turns(perSecond)
	}
	return nil
}

// turns waits for the turn of the next write. Stores count writes over 10 seconds, so
// within any 10 seconds there are at most ten times the rate, although the first few
// don't wait.
func turns(perSecond float64) func(context.Context) error {
	const window = 10
	burst := max(1, int(perSecond/3))
	return rate.NewLimiter(rate.Limit((window*perSecond-float64(burst))/window), burst).Wait
}

// tally counts the results of an import, and reports the credentials that failed.
type tally struct {
	*imports
	vault  *manage.Vault
	size   int64 // of the file; 0: not known
	began  time.Time
	counts map[manage.Imported]int
	failed int
	warned int
	shown  time.Time // when progress was last shown
	reach  *control.Reach
	err    error // of writing
}

// reportedImport is the line for a credential that failed, or has a warning.
type reportedImport struct {
	Position    string   `json:"position"`
	AccessToken string   `json:"access_token,omitempty"`
	Fingerprint string   `json:"fingerprint,omitempty"`
	Result      string   `json:"result"` // failed or warning
	Error       string   `json:"error,omitempty"`
	Warnings    []string `json:"warnings,omitempty"`
}

func (t *tally) report(o manage.Outcome) {
	if o.Err == nil {
		if t.counts == nil {
			t.counts = map[manage.Imported]int{}
		}
		t.counts[o.Imported]++
	}
	line := reportedImport{Position: o.Position, AccessToken: o.AccessToken, Warnings: o.Warnings}
	if o.AccessToken != "" {
		line.Fingerprint = t.vault.Fingerprint(o.AccessToken)
	}
	switch {
	case o.Err != nil:
		t.failed++
		line.Result, line.Error = "failed", o.Err.Error()
	case len(o.Warnings) > 0:
		t.warned++
		line.Result = "warning"
	}
	if line.Result != "" {
		t.clear()
		t.err = cmp.Or(t.err, t.printJSON(line))
	}
	if now := t.Now(); t.Terminal && now.Sub(t.shown) >= time.Second {
		t.shown = now
		fmt.Fprintf(t.Stderr, "\r\x1b[K%s", progress(t.done(), t.failed, t.read.Load(), t.size, now.Sub(t.began)))
	}
}

func (t *tally) done() int {
	return t.counts[manage.Created] + t.counts[manage.Replaced] + t.counts[manage.Unchanged]
}

// clear removes the progress from the terminal.
func (t *tally) clear() {
	if t.Terminal && !t.shown.IsZero() {
		fmt.Fprint(t.Stderr, "\r\x1b[K")
	}
}

// progress shows how far an import has come. It estimates the time that is left from how
// much of the file has been read.
func progress(done, failed int, read, size int64, elapsed time.Duration) string {
	s := fmt.Sprintf("%d done, %d failed", done, failed)
	if elapsed >= time.Second {
		s += fmt.Sprintf(", %.0f a second", float64(done+failed)/elapsed.Seconds())
	}
	if 0 < read && read < size {
		left := time.Duration(float64(elapsed) * float64(size-read) / float64(read))
		s += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	return s
}

// summary is the last line of an import.
type summary struct {
	Vault     string `json:"vault"`
	Check     bool   `json:"check,omitempty"`
	Created   int    `json:"created"`
	Replaced  int    `json:"replaced"`
	Unchanged int    `json:"unchanged"`
	Failed    int    `json:"failed"`
	Warned    int    `json:"warned,omitempty"` // in a check: would be stored, with a warning
	// ConsumersChecked says whether consumers were looked up.
	ConsumersChecked bool           `json:"consumers_checked"`
	Reach            *control.Reach `json:"reach,omitempty"`
}

// end writes the summary.
func (t *tally) end(consumersChecked bool) error {
	t.clear()
	s := summary{t.vault.Name, t.how.DryRun, t.counts[manage.Created], t.counts[manage.Replaced], t.counts[manage.Unchanged], t.failed, t.warned, consumersChecked, t.reach}
	if t.output == outputJSON || t.err != nil {
		return cmp.Or(t.err, t.printJSON(s))
	}
	would := ""
	if s.Check {
		would = "to be "
	}
	_, err := fmt.Fprintf(t.Stdout, "%d %screated, %d %sreplaced, %d unchanged, %d failed", s.Created, would, s.Replaced, would, s.Unchanged, s.Failed)
	if s.Warned > 0 {
		fmt.Fprintf(t.Stdout, "; %d with a warning", s.Warned)
	}
	if !consumersChecked {
		fmt.Fprint(t.Stdout, "; consumers were not checked: KONG_ADMIN_URL is not set")
	}
	if s.Reach != nil {
		fmt.Fprintf(t.Stdout, "; %s", s.Reach)
	}
	fmt.Fprintln(t.Stdout)
	return err
}

// failure is the error of a command of which some credentials failed.
func (t *tally) failure() error {
	switch {
	case t.failed == 0:
		return nil
	case t.how.DryRun:
		return fmt.Errorf("%d of %d credentials would fail", t.failed, t.failed+t.done())
	}
	return fmt.Errorf("%d of %d credentials were not imported", t.failed, t.failed+t.done())
}

// counted counts the bytes that are read.
type counted struct {
	io.Reader
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}
