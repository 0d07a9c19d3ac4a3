// Command soak runs the compiled plugin in a gateway against a real Vault server,
// on loopback only, and lets one thing after the other go wrong with them, under
// constant load. SOAK in the environment says for how long in all (5m).
//
// It prints a line per fault, with what was wrong below it, and ends with the line "wrong answers: N". Its exit status is 0 only if N
// is. What is wrong is defined in judge.go. On SIGINT or SIGTERM it ends early,
// with what it has seen so far.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"kong-vault-auth/e2e/build"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	wrong, err := run(ctx, os.Stdout, os.Getenv("SOAK"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	} else {
		fmt.Println("wrong answers:", wrong)
	}
	if err != nil || wrong > 0 {
		os.Exit(1)
	}
}

// shortest is what each phase takes at least: an outage has to be longer than the
// lookup deadline, and the pause after it passes only then.
const shortest = 5 * time.Second

func run(ctx context.Context, out io.Writer, length string) (wrong int, err error) {
	if length == "" {
		length = "5m"
	}
	total, err := time.ParseDuration(length)
	if err != nil {
		return 0, fmt.Errorf("SOAK is no duration, such as 5m: %w", err)
	}
	root, err := build.Root()
	if err != nil {
		return 0, err
	}
	s, err := set(ctx, filepath.Join(root, "bin", "vault-auth"), func(line string) { fmt.Fprintln(out, line) })
	if err != nil {
		return 0, err
	}
	defer func() {
		// A Ctrl-C reaches everything that runs at a terminal.
		if end := s.strike(); ctx.Err() == nil {
			err = errors.Join(err, end)
		}
	}()

	phases := s.phases()
	each := max(shortest, total/time.Duration(len(phases)))
	fmt.Fprintf(out, "%d phases of %s each; the fault lasts a third of that, and the load goes on all the time\n\n", len(phases), each.Round(100*time.Millisecond))
	var t table
	fmt.Fprintln(out, t.head())
	for _, p := range phases {
		row, err := s.play(ctx, p, each)
		if ctx.Err() != nil {
			fmt.Fprintln(out, "interrupted")
			break
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Fprint(out, t.add(row))
	}
	fmt.Fprintln(out)
	return t.wrong(), nil
}
