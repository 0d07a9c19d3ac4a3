package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/pflag"

	"kong-vault-auth/manage"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// secretFlags say where a new secret token goes. There are only three places: a terminal,
// a file that only its owner may read, and a wrapping token.
type secretFlags struct {
	file string        // --secret-file
	wrap time.Duration // --wrap; 0: no
}

const defaultWrap = 24 * time.Hour

func (s *secretFlags) add(f *pflag.FlagSet) {
	f.StringVar(&s.file, "secret-file", "", "`file` of mode 0600 to append the secret token to, as a line of JSON")
	f.DurationVar(&s.wrap, "wrap", 0, "hand the secret token over by a wrapping token of HashiCorp Vault, which can be unwrapped once within this time")
	f.Lookup("wrap").NoOptDefVal = defaultWrap.String()
}

// shown reports whether the secret token is to be shown on the terminal.
func (s *secretFlags) shown() bool { return s.file == "" && s.wrap == 0 }

// check checks the flags, before anything is changed.
func (s *secretFlags) check(p *Program) error {
	switch {
	case s.file != "" && s.wrap != 0:
		return usage("--secret-file and --wrap exclude each other")
	case s.wrap < 0:
		return usage("--wrap must be a time such as 1h")
	case s.shown() && !p.Terminal:
		return usage("standard output is not a terminal, and a secret token is shown only on a terminal: name a file with --secret-file, or hand it over with --wrap")
	}
	return nil
}

// handover delivers new secret tokens to the place that the flags name.
type handover struct {
	deliver  manage.Delivery
	wrapping string // the wrapping token of the last one
	close    func() error
}

// open prepares a handover. It must be closed.
func (s *secretFlags) open(ctx context.Context, v *manage.Vault) (*handover, error) {
	h := &handover{close: func() error { return nil }}
	switch {
	case s.file != "":
		f, err := openPrivate("--secret-file", s.file)
		if err != nil {
			return nil, err
		}
		h.deliver, h.close = appendTo(f), f.Close
	case s.wrap > 0:
		w, can := v.Writer.(secretstore.Wrapper)
		if !can {
			return nil, usage("--wrap hands a secret token over by response wrapping, which HashiCorp Vault has and the store of %s doesn't: name a file with --secret-file, or run the command on a terminal", v.Name)
		}
		h.deliver = func(i *manage.Issued) (func(), error) {
			fields := map[string]any{"access_token": i.AccessToken, "secret_token": i.Reveal()}
			var err error
			h.wrapping, err = w.Wrap(ctx, fields, s.wrap)
			return nil, err
		}
	default: // it is shown with the result
		h.deliver = func(*manage.Issued) (func(), error) { return nil, nil }
	}
	return h, nil
}

// openPrivate opens the file that a flag names, to append to it. One that others may
// read is refused.
func openPrivate(flag, name string) (*os.File, error) {
	f, err := appendPrivately(name)
	if err != nil {
		return nil, usage("%s: %w", flag, err)
	}
	return f, nil
}

func appendPrivately(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil || !errors.Is(err, os.ErrExist) {
		return f, err
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s must be readable for its owner only: chmod 0600 %s", name, name)
	}
	readable, err := securefile.Open(name, securefile.Group)
	if err != nil {
		return nil, err
	}
	defer readable.Close()
	if info, err := readable.Stat(); err != nil || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s was opened to others meanwhile", name)
	}
	if f, err = os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0); err != nil {
		return nil, err
	}
	// It must still be the file that was checked.
	was, err1 := readable.Stat()
	is, err2 := f.Stat()
	if err1 != nil || err2 != nil || !os.SameFile(was, is) {
		f.Close()
		return nil, fmt.Errorf("%s was replaced meanwhile", name)
	}
	return f, nil
}

// appendTo writes secret tokens to a file, a line each, and removes the last one again if
// the store was not changed. After a kill in between, the file may have a line too many;
// the last line of an access token counts.
func appendTo(f *os.File) manage.Delivery {
	return func(i *manage.Issued) (func(), error) {
		end, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return nil, err
		}
		undo := func() { _ = f.Truncate(end) }
		line, err := json.Marshal(map[string]string{"access_token": i.AccessToken, "secret_token": i.Reveal()})
		if err == nil {
			_, err = f.Write(append(line, '\n'))
		}
		if err == nil {
			err = f.Sync()
		}
		if err != nil {
			undo()
			return nil, err
		}
		return undo, nil
	}
}
