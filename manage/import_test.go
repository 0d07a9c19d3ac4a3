package manage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/credential"
	"kong-vault-auth/credentialfile"
	"kong-vault-auth/secretstore"
)

const random = "kT9xQ2vLr7Wm4ZbN8sYc1PfH5jDg3RaE"

func record(change ...func(*credential.Record)) *credential.Record {
	r := &credential.Record{AccessToken: "alice", Secret: credential.PlainSecret(random), Consumer: credential.Consumer{Username: "a"}}
	for _, c := range change {
		c(r)
	}
	return r
}

func stored(t *testing.T, r *credential.Record) string {
	t.Helper()
	b, err := credential.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func secret(s credential.Secret) func(*credential.Record) {
	return func(r *credential.Record) { r.Secret = s }
}

func previous(s credential.Secret, end time.Time) func(*credential.Record) {
	return func(r *credential.Record) { r.Previous, r.PreviousExpiresAt = s, end }
}

func TestImport(t *testing.T) {
	hashed, weak := credential.HashedSecret(random), credential.PlainSecret("hunter2")
	soon := now.Add(time.Hour)
	other := record(func(r *credential.Record) { r.Consumer.Username = "eve" })
	for name, tt := range map[string]struct {
		has    *credential.Record // what the store has
		raw    string             // or this
		record *credential.Record
		how    Importing
		want   Imported
		says   string
		log    []string
	}{
		"new":                         {record: record(), want: Created, log: []string{"create alice"}},
		"new, plain":                  {record: record(), how: Importing{Plain: true}, want: Created, log: []string{"create alice"}},
		"new, only a hash":            {record: record(secret(hashed)), want: Created, log: []string{"create alice"}},
		"new, guessable":              {record: record(secret(weak)), says: "secret_token: " + errGuessable.Error()},
		"new, guessable before":       {record: record(previous(weak, soon)), says: "previous_secret_token: " + errGuessable.Error()},
		"new, guessable, and over":    {record: record(previous(weak, now)), want: Created, log: []string{"create alice"}},
		"new, guessable, as hash":     {record: record(secret(weak)), how: Importing{Hash: true}, want: Created, log: []string{"create alice"}},
		"new, guessable, plain":       {record: record(secret(weak)), how: Importing{Plain: true}, want: Created, log: []string{"create alice"}},
		"new, with a flaw":            {record: record(func(r *credential.Record) { r.Flaws = []credential.Problem{{Field: "ttl", Detail: "it is wrong"}} }), says: "ttl: it is wrong"},
		"new, previous for too long":  {record: record(previous(hashed, now.AddDate(1, 0, 0))), says: "previous_expires_at: it is more than 7 days ahead, so the previous secret token is refused (write an earlier end)"},
		"new, unusable":               {record: record(func(r *credential.Record) { r.Consumer.Username = "" }), says: "consumer: it is missing (write {\"id\": \"…\"} or {\"username\": \"…\"}, as Kong knows the consumer)"},
		"new, dry run":                {record: record(), how: Importing{DryRun: true}, want: Created},
		"again":                       {has: record(secret(hashed)), record: record(), want: Unchanged},
		"again, with previous":        {has: record(secret(hashed), previous(hashed, soon)), record: record(previous(credential.PlainSecret(random), soon)), want: Unchanged},
		"again, its previous over":    {has: record(secret(hashed)), record: record(previous(hashed, now)), want: Unchanged},
		"again, plain":                {has: record(), record: record(), how: Importing{Plain: true}, want: Unchanged},
		"again, and now plain":        {has: record(secret(hashed)), record: record(), how: Importing{Plain: true}, says: "the store has one already, which differs in the form of its secret_token"},
		"again, other form, replaced": {has: record(), record: record(), how: Importing{Replace: true}, want: Replaced, log: []string{"replace alice"}},
		"another":                     {has: other, record: record(), how: Importing{Plain: true}, says: "the store has one already, which differs in consumer"},
		"another, replaced":           {has: other, record: record(), how: Importing{Plain: true, Replace: true}, want: Replaced, log: []string{"replace alice"}},
		"another, dry run":            {has: other, record: record(), how: Importing{Plain: true, Replace: true, DryRun: true}, want: Replaced},
		"something else":              {raw: "{}", record: record(), says: "the store has one already, which differs in that it can't be used: access_token: it is missing or empty (write the token that clients send, which is also the secret's name)"},
		"disabled":                    {raw: "disabled", record: record(), says: "the store has one already, which differs in that it is disabled in the store"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, limited := range []bool{false, true} {
				v, m := newVault(nil)
				switch {
				case tt.raw == "disabled":
					m.documents["alice"] = ""
				case tt.raw != "":
					m.documents["alice"] = tt.raw
				case tt.has != nil:
					m.documents["alice"] = stored(t, tt.has)
				}
				turns := 0
				if limited {
					tt.how.Turn = func(context.Context) error { turns++; return nil }
				}
				got, err := v.importOne(t.Context(), tt.record, tt.how)
				if says := fmt.Sprint(err); got != tt.want || (err == nil) != (tt.says == "") || err != nil && says != tt.says {
					t.Fatalf("%q, %v", got, err)
				}
				if diff := cmp.Diff(tt.log, m.log); diff != "" {
					t.Error(diff)
				}
				if limited && turns != len(tt.log) {
					t.Errorf("it took %d turns", turns)
				}
				if len(m.log) > 0 && !tt.how.Plain && strings.Contains(m.documents["alice"], `secret_token":`) {
					t.Error("a secret token is stored in clear")
				}
				if tt.how.DryRun || tt.want == "" {
					continue
				}
				if again, err := v.importOne(t.Context(), tt.record, tt.how); again != Unchanged || err != nil {
					t.Errorf("once more: %q, %v", again, err)
				}
			}
		})
	}
}

func TestImportWaitsForItsTurn(t *testing.T) {
	v, m := newVault(nil)
	enough := errors.New("enough")
	_, err := v.importOne(t.Context(), record(), Importing{Turn: func(context.Context) error { return enough }})
	if err != enough || len(m.log) > 0 {
		t.Error(err, m.log)
	}
}

func TestImportKeepsDates(t *testing.T) {
	then := now.AddDate(-1, 0, 0)
	for name, tt := range map[string]struct{ created, updated, wantCreated, wantUpdated time.Time }{
		"none":    {wantCreated: now, wantUpdated: now},
		"created": {created: then, wantCreated: then, wantUpdated: then},
		"both":    {created: then, updated: now.Add(-time.Hour), wantCreated: then, wantUpdated: now.Add(-time.Hour)},
	} {
		v, m := newVault(nil)
		if _, err := v.importOne(t.Context(), record(func(r *credential.Record) { r.CreatedAt, r.UpdatedAt = tt.created, tt.updated }), Importing{}); err != nil {
			t.Fatal(err)
		}
		r, err := credential.Parse([]byte(m.documents["alice"]))
		if err != nil || !r.CreatedAt.Equal(tt.wantCreated) || !r.UpdatedAt.Equal(tt.wantUpdated) {
			t.Errorf("%s: %v, created %v, updated %v", name, err, r.CreatedAt, r.UpdatedAt)
		}
	}
}

func TestExport(t *testing.T) {
	hashed := credential.HashedSecret(random)
	documents := map[string]string{
		"alice": stored(t, record()),
		"bob":   stored(t, record(func(r *credential.Record) { r.AccessToken = "bob" }, secret(hashed))),
		"carol": stored(t, record(func(r *credential.Record) { r.AccessToken = "carol" }, secret(credential.PlainSecret("hunter2")))),
		"dave":  "",
		"erin":  "{}",
	}
	guessable := "carol: " + errGuessable.Error()
	unusable := []string{"dave: credential of dave: it is disabled in the store, and can't be read: enable it there first", "erin: credential of erin: access_token: it is missing or empty (write the token that clients send, which is also the secret's name)"}
	for name, tt := range map[string]struct {
		how  Exporting
		want []string
	}{
		"by default": {want: append([]string{"alice hash", "bob hash", guessable}, unusable...)},
		"hash":       {how: Exporting{Hash: true}, want: append([]string{"alice hash", "bob hash", "carol hash"}, unusable...)},
		"plain":      {how: Exporting{Plain: true}, want: append([]string{"alice plain", "bob hash", "carol plain"}, unusable...)},
	} {
		t.Run(name, func(t *testing.T) {
			v, _ := newVault(documents)
			var got []string
			err := v.Export(t.Context(), tt.how, func(r *credential.Record) error {
				got = append(got, r.AccessToken+map[bool]string{true: " hash", false: " plain"}[r.Secret.Token == ""])
				return nil
			}, func(accessToken string, err error) { got = append(got, accessToken+": "+err.Error()) })
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
	v, _ := newVault(documents)
	enough := errors.New("enough")
	if err := v.Export(t.Context(), Exporting{}, func(*credential.Record) error { return enough }, func(string, error) {}); err != enough {
		t.Error(err)
	}
}

// flaky is a store that fails as a test demands, and records when it was asked.
type flaky struct {
	secretstore.Writer
	mu     sync.Mutex
	memory *memory
	fail   func(accessToken string, attempt int) error
	asked  map[string][]time.Duration // since the beginning
	began  time.Time
	reads  int
}

func (f *flaky) Create(ctx context.Context, accessToken string, record []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[accessToken] = append(f.asked[accessToken], time.Since(f.began))
	if err := f.fail(accessToken, len(f.asked[accessToken])); err != nil {
		return err
	}
	return f.memory.Create(ctx, accessToken, record)
}

func (f *flaky) Get(ctx context.Context, accessToken string) (*secretstore.Document, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return f.memory.Get(ctx, accessToken)
}

func (f *flaky) Replace(ctx context.Context, accessToken string, record []byte, version string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.memory.Get(ctx, accessToken)
	if err == nil {
		f.memory.documents[accessToken] = string(record)
	}
	return err
}

func (f *flaky) Base64() bool { return false }

func bulk(f func(accessToken string, attempt int) error, text string, how Importing) (*Bulk, *flaky, *[]string) {
	v, m := newVault(nil)
	store := &flaky{memory: m, fail: f, asked: map[string][]time.Duration{}, began: time.Now()}
	v.Writer = store
	r, err := credentialfile.NewReader(strings.NewReader(text), "")
	if err != nil {
		panic(err)
	}
	var got []string
	return &Bulk{Vault: v, How: how, File: r, Timeout: time.Minute, Report: func(o Outcome) {
		got = append(got, strings.TrimSpace(fmt.Sprint(o.Position, " ", o.AccessToken, " ", o.Imported, " ", errorOf(o.Err))))
		slices.Sort(got)
	}}, store, &got
}

func errorOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func never(string, int) error { return nil }

func line(accessToken, consumer string) string {
	return fmt.Sprintf(`{"access_token":%q,"secret_token":%q,"consumer":%q}`+"\n", accessToken, random, consumer)
}

// An import stores what it can, and reports the rest.
func TestBulk(t *testing.T) {
	eve := errors.New("no such consumer")
	for name, tt := range map[string]struct {
		text string
		how  Importing
		want []string
		end  string
	}{
		"all":                   {text: line("a", "x") + line("b", "x"), want: []string{"line 1 a created", "line 2 b created"}},
		"a wrong line":          {text: line("a", "x") + "{\n" + line("b", "x"), want: []string{"line 1 a created", "line 2   json: it is not valid JSON (write {\"access_token\": \"…\", \"secret_token\": \"…\", \"consumer\": {\"username\": \"…\"}})", "line 3 b created"}},
		"no consumer":           {text: line("a", "eve") + line("b", "x"), want: []string{"line 1 a  no such consumer", "line 2 b created"}},
		"twice the same":        {text: line("a", "x") + line("a", "x"), want: []string{"line 1 a created", "line 2 a unchanged"}},
		"twice, the first":      {text: line("a", "x") + line("a", "y"), want: []string{"line 1 a created", "line 2 a  the store has one already, which differs in consumer"}},
		"twice, the last":       {text: line("a", "x") + line("a", "y"), how: Importing{Replace: true}, want: []string{"line 1 a created", "line 2 a replaced"}},
		"twice, in a dry run":   {text: line("a", "x") + line("a", "x"), how: Importing{DryRun: true}, want: []string{"line 1 a created", "line 2 a  " + errTwice.Error()}},
		"a file that is no use": {text: `{"data":1}`, end: "the file: after credential 0: it is not an answer of Kong Enterprise's, an object with the field data"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _, got := bulk(never, tt.text, tt.how)
			b.Consumer = func(_ context.Context, c credential.Consumer) (credential.Consumer, error) {
				if c.Username == "eve" {
					return c, eve
				}
				return c, nil
			}
			err := b.Run(t.Context())
			if diff := cmp.Diff(tt.want, *got); diff != "" || errorOf(err) != tt.end {
				t.Error(err, diff)
			}
		})
	}
}

// All workers wait as long as the store asks, and longer each time it fails.
func TestBulkWaitsForTheStore(t *testing.T) {
	busy := &secretstore.Failure{Op: "create", Reason: "rate_limited", Wait: 7 * time.Second}
	down := &secretstore.Failure{Op: "create", Reason: "timeout"}
	for name, tt := range map[string]struct {
		fail    func(accessToken string, attempt int) error
		asked   []time.Duration
		end     string
		outcome []string
	}{
		"Retry-After": {
			fail:    func(_ string, attempt int) error { return map[int]error{1: busy}[attempt] },
			asked:   []time.Duration{0, 7 * time.Second},
			outcome: []string{"line 1 a created"},
		},
		"for a while": {
			fail:    func(_ string, attempt int) error { return map[bool]error{true: down}[attempt < 4] },
			asked:   []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second},
			outcome: []string{"line 1 a created"},
		},
		"for good": {
			fail:  func(string, int) error { return down },
			asked: []time.Duration{0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second, 31 * time.Second, 61 * time.Second, 91 * time.Second},
			end:   "create: timeout; the import has stopped: start it again to continue",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, store, got := bulk(tt.fail, line("a", "x"), Importing{})
				err := b.Run(t.Context())
				if diff := cmp.Diff(tt.asked, store.asked["a"]); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tt.outcome, *got); diff != "" || errorOf(err) != tt.end {
					t.Error(err, diff)
				}
			})
		})
	}
}

// If the store asks one worker to wait, the others wait too.
func TestPauseIsForAllWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := &secretstore.Failure{Op: "create", Reason: "rate_limited", Wait: time.Minute}
		text := ""
		for i := range 100 {
			text += line(fmt.Sprint("a", i), "x")
		}
		first := true
		b, store, got := bulk(func(string, int) error {
			if first {
				first = false
				return busy
			}
			return nil
		}, text, Importing{})
		if err := b.Run(t.Context()); err != nil || len(*got) != 100 {
			t.Fatal(err, len(*got))
		}
		early := 0
		for _, asked := range store.asked {
			if asked[len(asked)-1] < time.Minute {
				early++
			}
		}
		if early >= writesAtOnce {
			t.Errorf("%d were written before the minute was over, more than were on their way", early)
		}
	})
}

// An import stops if the store refuses all credentials, but not if it refuses some.
func TestBulkStopsIfAllAreRefused(t *testing.T) {
	denied := &secretstore.Failure{Op: "create", Reason: secretstore.Denied}
	text := ""
	for i := range 200 {
		text += line(fmt.Sprintf("a%03d", i), "x")
	}
	for name, tt := range map[string]struct {
		fail     func(string, int) error
		fails    bool
		reported func(int) bool
	}{
		"each": {func(string, int) error { return denied }, true, func(n int) bool { return n < maxRefusals+writesAtOnce }},
		"some": {func(a string, _ int) error { return map[bool]error{true: denied}[strings.HasSuffix(a, "0")] }, false, func(n int) bool { return n == 200 }},
		"one by one": {func(a string, _ int) error {
			return map[bool]error{true: &secretstore.Failure{Op: "create", Reason: "status", OneName: true}}[strings.HasSuffix(a, "0")]
		}, false, func(n int) bool { return n == 200 }},
	} {
		t.Run(name, func(t *testing.T) {
			b, _, got := bulk(tt.fail, text, Importing{})
			err := b.Run(t.Context())
			if (err != nil) != tt.fails || !tt.reported(len(*got)) {
				t.Errorf("%v, and %d were reported", err, len(*got))
			}
		})
	}
}

func TestBulkStops(t *testing.T) {
	gone := errors.New("Kong is gone")
	b, _, got := bulk(never, line("a", "x"), Importing{})
	b.Consumer = func(context.Context, credential.Consumer) (credential.Consumer, error) {
		return credential.Consumer{}, &StopError{gone}
	}
	if err := b.Run(t.Context()); !errors.Is(err, gone) || len(*got) != 0 {
		t.Error(err, *got)
	}
	b, _, got = bulk(never, line("a", "x"), Importing{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); !errors.Is(err, context.Canceled) || len(*got) != 0 {
		t.Error(err, *got)
	}
}

// endless is a file without an end; it fails the test if much more of it is read than
// was written.
type endless struct {
	t       *testing.T
	n       int
	written func() int
}

func (e *endless) Next() (credentialfile.Row, error) {
	if e.n++; e.n > 5000 {
		return credentialfile.Row{}, io.EOF
	}
	if ahead := e.n - e.written(); ahead > (readAhead+2)*writesAtOnce {
		e.t.Fatalf("%d are read ahead", ahead)
	}
	return credentialfile.Row{Position: "x", Record: record(func(r *credential.Record) { r.AccessToken = fmt.Sprint("a", e.n) })}, nil
}

// Otherwise memory would grow with the file.
func TestBulkDoesNotReadFarAhead(t *testing.T) {
	b, _, _ := bulk(never, "", Importing{})
	done := 0
	b.Report = func(Outcome) { done++ }
	b.File = &endless{t: t, written: func() int {
		b.reports.Lock()
		defer b.reports.Unlock()
		return done
	}}
	if err := b.Run(t.Context()); err != nil || done != 5000 {
		t.Error(err, done)
	}
}

// An import that is started again doesn't try to write everything first.
func TestImportOfStoredCredentialsReadsEachOnce(t *testing.T) {
	const pairs = 1000
	text := ""
	for i := range pairs {
		text += line(fmt.Sprint("a", i), "x")
	}
	b, store, got := bulk(never, text, Importing{})
	if err := b.Run(t.Context()); err != nil || store.reads != 0 {
		t.Fatalf("%v; %d reads where nothing was stored", err, store.reads)
	}
	var err error
	if b.File, err = credentialfile.NewReader(strings.NewReader(text), ""); err != nil {
		t.Fatal(err)
	}
	*got = nil
	clear(store.asked)
	if err := b.Run(t.Context()); err != nil || len(*got) != pairs {
		t.Fatal(err, len(*got))
	}
	if store.reads != pairs || len(store.asked) > writesAtOnce {
		t.Errorf("%d reads and %d writes for %d credentials that were there", store.reads, len(store.asked), pairs)
	}
}

// latecomer is a store in which the credential appears after the first read.
type latecomer struct {
	*memory
	reads int
	late  string
}

func (l *latecomer) Get(ctx context.Context, accessToken string) (*secretstore.Document, error) {
	d, err := l.memory.Get(ctx, accessToken)
	if l.reads++; l.reads == 1 {
		l.documents[accessToken] = l.late
	}
	return d, err
}

// Vault may still be busy with that write when the next import reads the credential.
func TestImportFindsTheLastWriteOfAKilledOne(t *testing.T) {
	for late, want := range map[string]string{
		stored(t, record(secret(credential.HashedSecret(random)))):                    "unchanged",
		stored(t, record(func(r *credential.Record) { r.Consumer.Username = "eve" })): "the store has one already, which differs in consumer, the form of its secret_token",
	} {
		v, m := newVault(nil)
		v.Writer = &latecomer{memory: m, late: late}
		got, err := v.importOne(t.Context(), record(), Importing{readFirst: true})
		if says := string(got) + errorOf(err); says != want {
			t.Errorf("%s, want %s", says, want)
		}
	}
}

// repeated is a file of the same credential, which notes how often it was read.
type repeated struct{ n, read int }

func (r *repeated) Next() (credentialfile.Row, error) {
	if r.read == r.n {
		return credentialfile.Row{}, io.EOF
	}
	r.read++
	return credentialfile.Row{Position: "x", Record: record()}, nil
}

// So credentials are written at the same time.
func TestBulkKeepsReadingWhileOneIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := bulk(never, "", Importing{})
		file, release := &repeated{n: 1 + readAhead}, make(chan struct{})
		b.File = file
		b.Consumer = func(_ context.Context, c credential.Consumer) (credential.Consumer, error) {
			<-release
			return c, nil
		}
		ended := make(chan error, 1)
		go func() { ended <- b.Run(t.Context()) }()
		synctest.Wait()
		if file.read != file.n {
			t.Errorf("%d of %d are read while the first is being written", file.read, file.n)
		}
		close(release)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// folding is a store like Azure's: its names ignore case and have no underscores, and the
// size of a record is limited.
type folding struct{ *memory }

func (folding) SecretName(accessToken string) (string, bool) {
	if strings.Contains(accessToken, "_") {
		return "p-sha256-0", false
	}
	return "p-" + accessToken, true
}

func (folding) CheckSize(record []byte) error {
	if len(record) > 400 {
		return errors.New("it is too large")
	}
	return nil
}

func (f folding) Get(ctx context.Context, accessToken string) (*secretstore.Document, error) {
	return f.memory.Get(ctx, strings.ToLower(accessToken))
}

func (f folding) Create(ctx context.Context, accessToken string, record []byte) error {
	return f.memory.Create(ctx, strings.ToLower(accessToken), record)
}

// A check warns of credentials that the store or the plugin would treat differently from
// what the file says.
func TestCheckWarns(t *testing.T) {
	file := func(members string) string {
		return fmt.Sprintf(`{"access_token":"a","secret_token":%q,"consumer":"x",%s}`+"\n", random, members)
	}
	const digest = "access_token: the store can't have it as a name, so the secret is called p-sha256-0"
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":           {line("a", "x"), "created"},
		"expired":           {file(`"expires_at":1`), "created expires_at: it has expired, so the plugin will refuse it"},
		"not expired":       {file(`"expires_at":4102444800`), "created"},
		"ttl too long":      {file(`"ttl":"2h"`), "created ttl: 2h0m0s is more than the max_ttl of the vault object, 1h0m0s, which counts instead"},
		"ttl":               {file(`"ttl":"1h"`), "created"},
		"too large":         {file(`"description":"` + strings.Repeat("d", 400) + `"`), "it is too large"},
		"no name":           {line("a_b", "x"), "created " + digest},
		"twice":             {line("a", "x") + line("a", "x"), "created; " + errTwice.Error()},
		"the same name":     {line("a", "x") + line("A", "x"), "created; " + errSameName.Error()},
		"another's already": {line("HELD", "x"), errSameName.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			b, _, _ := bulk(never, tt.text, Importing{DryRun: true})
			_, m := newVault(map[string]string{"held": stored(t, record(func(r *credential.Record) { r.AccessToken = "held" }))})
			b.Vault.Writer, b.Vault.MaxTTL = folding{m}, time.Hour
			var got []string
			b.Report = func(o Outcome) {
				got = append(got, strings.TrimSpace(strings.Join(append([]string{string(o.Imported) + errorOf(o.Err)}, o.Warnings...), " ")))
			}
			if err := b.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			if joined := strings.Join(got, "; "); joined != tt.want && joined != strings.Join(reversed(tt.want), "; ") {
				t.Errorf("%s, want %s", joined, tt.want)
			}
		})
	}
}

// reversed is the outcomes in the other order.
func reversed(want string) []string {
	all := strings.Split(want, "; ")
	slices.Reverse(all)
	return all
}

// The other credential's access token differs only in case.
func TestReplaceLeavesAnothersCredentialAlone(t *testing.T) {
	v, m := newVault(map[string]string{"alice": stored(t, record())})
	v.Writer = folding{m}
	for _, how := range []Importing{{Replace: true}, {Replace: true, readFirst: true}, {}} {
		_, err := v.importOne(t.Context(), record(func(r *credential.Record) { r.AccessToken = "ALICE" }), how)
		if !errors.Is(err, errSameName) || len(m.log) > 0 {
			t.Errorf("%+v: %v, %v", how, err, m.log)
		}
	}
}
