package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kong-vault-auth/kongtest"
)

// lines is the end of the error log.
type lines struct {
	mu      sync.Mutex
	all     []kongtest.LogLine
	changed chan struct{} // closed at the next line
}

const maxLines = 20_000

func (l *lines) add(line kongtest.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == maxLines {
		l.all = slices.Delete(l.all, 0, maxLines/2)
	}
	l.all = append(l.all, line)
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// next returns the lines, and a channel that is closed with the next one.
func (l *lines) next() ([]kongtest.LogLine, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return slices.Clone(l.all), l.changed
}

// ErrorLog returns the error log's lines of all levels, debug included: Kong's
// default level, notice, hides info and debug. Of a very long log only the end
// is kept.
func (g *Gateway) ErrorLog() []kongtest.LogLine {
	g.lines.mu.Lock()
	defer g.lines.mu.Unlock()
	return slices.Clone(g.lines.all)
}

// AwaitLog waits until that many lines of the error log hold a text, or ctx
// ends.
func (g *Gateway) AwaitLog(ctx context.Context, part string, count int) error {
	for {
		all, changed := g.lines.next()
		n := 0
		for _, l := range all {
			if strings.Contains(l.Text, part) {
				n++
			}
		}
		if n >= count {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%q is in the error log %d times, not %d: %w\n%s", part, n, count, ctx.Err(), g.tail())
		}
	}
}

func (g *Gateway) log(level, text string) {
	g.addLine(kongtest.LogLine{Level: level, Text: text})
}

func (g *Gateway) addLine(line kongtest.LogLine) {
	g.lines.add(line)
	if g.options.ErrorLog != nil {
		g.options.ErrorLog(line)
	}
}

// tail is the end of the error log, for an error message.
func (g *Gateway) tail() string {
	all := g.ErrorLog()
	var b strings.Builder
	for _, l := range all[max(0, len(all)-10):] {
		b.WriteString("[" + l.Level + "] " + l.Text + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
