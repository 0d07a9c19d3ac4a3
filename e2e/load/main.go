// Command load measures what authentication costs a whole gateway: requests a
// second, how long they take, and the processor time that each costs the
// gateway and the plugin server, for routes that differ only in the plugin.
//
//	E2E_KONG=/path/to/kong go run ./load
//
// Without E2E_KONG the gateway is kongtest's. In each round every route has a turn, and the
// figures are medians over the rounds. Compare only routes of the same run: figures of another
// machine, or of a busy one, say nothing.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"runtime"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("load: ")
	var o options
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, in which the routes take turns")
	flag.IntVar(&o.connections, "connections", 16, "client connections")
	flag.DurationVar(&o.length, "for", 2*time.Second, "length of a route's turn")
	flag.StringVar(&o.only, "only", "", "measure this `route` alone, beside the plugin that does nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

type options struct {
	rounds, connections int
	length              time.Duration
	only                string // a route's name; empty for all
}

func run(ctx context.Context, o options, out io.Writer) (err error) {
	s, err := setUp(ctx, os.Getenv("E2E_KONG"))
	if err != nil {
		return err
	}
	defer func() {
		if closing := s.closers.Close(); err == nil {
			err = closing
		}
	}()
	fmt.Fprintf(out, "%s, %d connections, %d rounds of %s, %s, %d cores\n\n", s.gateway, o.connections, o.rounds, o.length, runtime.Version(), runtime.NumCPU())
	turns := make([][]turn, len(s.routes))
	for round := range o.rounds + 1 {
		for i, r := range s.routes {
			if o.only != "" && r.name != o.only && r.plugin != floorPlugin {
				continue
			}
			length := o.length
			if round == 0 {
				length = time.Second // to warm up; not counted
			}
			t, err := s.measure(ctx, r, o.connections, length)
			if err != nil {
				return fmt.Errorf("route %s: %w", r.name, err)
			}
			if round > 0 {
				turns[i] = append(turns[i], t)
			}
		}
	}
	print(out, s.routes, turns)
	return nil
}
