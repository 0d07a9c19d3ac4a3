// Command soak runs the compiled plugin in a gateway against a real Vault server,
// and then against a simulated Azure Key Vault, on loopback only, with one fault after the
// other, under constant load. SOAK in the environment says for how long in all (5m).
//
// It prints a line per fault, with the wrong answers below it, and ends with the line "wrong
// answers: N". Its exit status is 0 only if N is 0 and no flood exceeded the limits of lookups
// and memory. judge.go says which answers are wrong. The gateways' error log is in bin/soak.log.
// On SIGINT or SIGTERM it ends early, with the result so far.
//
// An argument is a regular expression, such as "Azure.*crowd", for the store's name and the
// fault's: only faults that it matches are run.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"kong-vault-auth/e2e/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	t, err := run(ctx, os.Stdout, os.Getenv("SOAK"), strings.Join(os.Args[1:], " "))
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	} else {
		fmt.Println("wrong answers:", t.wrong())
	}
	if err != nil || t.wrong() > 0 || t.unbounded() {
		os.Exit(1)
	}
}

// shortest is how long a phase lasts at least, not counting the time until the store answers
// again.
const shortest = 5 * time.Second

var stores = []func(context.Context, func(string)) (store, error){openVault, openAzure}

func run(ctx context.Context, out io.Writer, length, only string) (*table, error) {
	if length == "" {
		length = "5m"
	}
	total, err := time.ParseDuration(length)
	if err != nil {
		return nil, fmt.Errorf("SOAK is no duration, such as 5m: %w", err)
	}
	selected, err := regexp.Compile(only)
	if err != nil {
		return nil, err
	}
	root, err := build.Root()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(root, "bin", "soak.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	t := &table{}
	for _, open := range stores {
		s, err := setUp(ctx, filepath.Join(root, "bin", "vault-auth"), open, func(line string) { fmt.Fprintln(out, line) }, log)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(log, "%s\n", s.store)
		err = s.runPhases(ctx, out, log, t, selected, total/time.Duration(len(stores)))
		// A Ctrl-C reaches everything that runs at a terminal.
		if end := s.stop(); ctx.Err() == nil {
			err = errors.Join(err, end)
		}
		if ctx.Err() != nil {
			fmt.Fprintln(out, "interrupted")
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// runPhases runs all phases.
func (s *env) runPhases(ctx context.Context, out, log io.Writer, t *table, selected *regexp.Regexp, lasting time.Duration) error {
	phases := slices.DeleteFunc(s.phases(), func(p phase) bool { return !selected.MatchString(s.String() + ": " + p.name) })
	if len(phases) == 0 {
		return nil
	}
	parts := 0
	for _, p := range phases {
		parts += max(1, p.parts)
	}
	each := max(shortest, lasting/time.Duration(parts))
	fmt.Fprintf(out, "%s: %d phases of %s or more\n\n%s\n", s.store, len(phases), each.Round(100*time.Millisecond), t.head())
	for _, p := range phases {
		fmt.Fprintf(log, "%s\n", p.name)
		row, err := s.runPhase(ctx, p, each*time.Duration(max(1, p.parts)))
		if err != nil {
			return fmt.Errorf("%s, %s: %w", s.store, p.name, err)
		}
		fmt.Fprint(out, t.add(row))
	}
	fmt.Fprintln(out)
	return nil
}
