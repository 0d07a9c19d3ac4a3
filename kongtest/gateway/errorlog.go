package gateway

import (
	"slices"
	"strings"
	"sync"

	"kong-vault-auth/kongtest"
)

// lines is the end of the error log.
type lines struct {
	mu  sync.Mutex
	all []kongtest.LogLine
}

const maxLines = 20_000

func (l *lines) add(line kongtest.LogLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == maxLines {
		l.all = slices.Delete(l.all, 0, maxLines/2)
	}
	l.all = append(l.all, line)
}

// ErrorLog returns the error log's lines of all levels, including info and debug,
// which Kong's default level, notice, hides. Of a very long log only the end is
// kept.
func (g *Gateway) ErrorLog() []kongtest.LogLine {
	g.lines.mu.Lock()
	defer g.lines.mu.Unlock()
	return slices.Clone(g.lines.all)
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
