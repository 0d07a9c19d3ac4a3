package pluginserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of a Log.
const (
	maxWaiting = 64          // lines that wait for an event
	maxKinds   = 1024        // kinds of line whose last time is remembered
	logEvery   = time.Minute // a kind's pause
)

// Log is a slog.Handler for an operator's lines. Each goes to standard error and, with the
// next event, to Kong's error log: Kong logs a plugin server's output at level info, which it
// hides by default.
//
// Clients control how often most lines are caused, so a line appears at most once a minute
// for its level, message, vault object ("vault"), reason ("reason") and credential
// ("credential"). The next one says how many were left out ("repeated"). Lines below warn go
// to standard error only. A Log is safe for concurrent use.
type Log struct {
	shared *logState
	attrs  []slog.Attr
	group  string
}

type logState struct {
	w     io.Writer
	level slog.Leveler
	now   func() time.Time
	any   atomic.Bool // lines wait

	leftOut atomic.Uint64

	mu      sync.Mutex // guards the rest
	waiting []logLine
	lost    int
	kinds   map[logKind]*logSeen
}

type logKind struct {
	level                              slog.Level
	message, vault, reason, credential string
}

type logSeen struct {
	last     time.Time
	repeated int
}

// logLine is one line for Kong's error log.
type logLine struct {
	Level slog.Level
	Text  string
}

// NewLog returns a Log that writes lines at or above a level to w.
func NewLog(w io.Writer, level slog.Leveler) *Log {
	return &Log{shared: &logState{w: w, level: level, now: time.Now, kinds: map[logKind]*logSeen{}}}
}

// Enabled reports whether lines of a level are written at all.
func (l *Log) Enabled(_ context.Context, level slog.Level) bool {
	return level >= l.shared.level.Level()
}

// WithAttrs returns a Log that adds attributes to each line.
func (l *Log) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *l
	c.attrs = append(c.attrs[:len(c.attrs):len(c.attrs)], qualify(l.group, attrs)...)
	return &c
}

// WithGroup returns a Log that puts a name before the keys of attributes.
func (l *Log) WithGroup(name string) slog.Handler {
	if name == "" {
		return l
	}
	c := *l
	c.group += name + "."
	return &c
}

func qualify(group string, attrs []slog.Attr) []slog.Attr {
	if group == "" {
		return attrs
	}
	out := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		out[i] = slog.Attr{Key: group + a.Key, Value: a.Value}
	}
	return out
}

// Handle writes one line, or counts it.
func (l *Log) Handle(_ context.Context, r slog.Record) error {
	attrs := l.attrs[:len(l.attrs):len(l.attrs)]
	r.Attrs(func(a slog.Attr) bool {
		attrs = append(attrs, qualify(l.group, []slog.Attr{a})...)
		return true
	})
	kind := logKind{level: r.Level, message: r.Message}
	for _, a := range attrs {
		switch a.Key {
		case "vault":
			kind.vault = a.Value.String()
		case "reason":
			kind.reason = a.Value.String()
		case "credential":
			kind.credential = a.Value.String()
		}
	}

	s := l.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	repeated, due := s.due(kind)
	if !due {
		return nil
	}
	if repeated > 0 {
		attrs = append(attrs, slog.Int("repeated", repeated))
	}
	text := format(r.Message, attrs)
	if r.Level >= slog.LevelWarn {
		s.keep(logLine{r.Level, text})
	}
	_, err := fmt.Fprintf(s.w, "%s %s\n", r.Level, text)
	return err
}

// due reports whether a line of a kind may appear, and how many were left out since the last
// one.
func (s *logState) due(kind logKind) (repeated int, due bool) {
	now := s.now()
	seen := s.kinds[kind]
	if seen == nil {
		if len(s.kinds) >= maxKinds {
			clear(s.kinds) // in a flood of kinds a few lines too many are better than none
		}
		s.kinds[kind] = &logSeen{last: now}
		return 0, true
	}
	if now.Sub(seen.last) < logEvery {
		seen.repeated++
		s.leftOut.Add(1)
		return 0, false
	}
	repeated, seen.repeated, seen.last = seen.repeated, 0, now
	return repeated, true
}

// LeftOut returns how many lines were left out so far because one of their kind had appeared
// within a minute.
func (l *Log) LeftOut() uint64 { return l.shared.leftOut.Load() }

// keep keeps a line for the next event, and drops the oldest if there are too many.
func (s *logState) keep(line logLine) {
	if len(s.waiting) == maxWaiting {
		s.waiting = append(s.waiting[:0], s.waiting[1:]...)
		s.lost++
	}
	s.waiting = append(s.waiting, line)
	s.any.Store(true)
}

// take returns the lines that wait for an event, and forgets them.
func (l *Log) take() []logLine {
	s := l.shared
	if !s.any.Load() { // every event asks
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.waiting
	if s.lost > 0 {
		lines = append(lines, logLine{slog.LevelWarn, fmt.Sprintf("%d earlier lines are on standard error only", s.lost)})
	}
	s.waiting, s.lost = nil, 0
	s.any.Store(false)
	return lines
}

// format puts a message and attributes into one line. Control characters are escaped, since
// Kong writes lines to its error log unchanged.
func format(message string, attrs []slog.Attr) string {
	var b strings.Builder
	b.WriteString(printable(message))
	for _, a := range attrs {
		b.WriteByte(' ')
		b.WriteString(printable(a.Key))
		b.WriteByte('=')
		v := printable(a.Value.Resolve().String())
		if strings.ContainsAny(v, " =\"") || v == "" {
			v = strconv.Quote(v)
		}
		b.WriteString(v)
	}
	return b.String()
}

func printable(s string) string {
	clean := func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }
	if strings.IndexFunc(s, clean) < 0 {
		return s
	}
	q := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

func (l logLine) method() string {
	switch {
	case l.Level >= slog.LevelError:
		return "kong.log.err"
	case l.Level >= slog.LevelWarn:
		return "kong.log.warn"
	}
	return "kong.log.notice"
}

// argument is a ListValue of one string.
func (l logLine) argument() []byte {
	return appendPart(nil, 1, appendPart(nil, 3, l.Text)) // Value.string_value
}
