package pluginserver_test

import (
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/pluginserver/servertest"
)

// counted is what was counted, less what was not.
func counted(a *pluginserver.Answers) []pluginserver.Answered {
	return slices.DeleteFunc(a.All(), func(a pluginserver.Answered) bool { return a.Count == 0 })
}

// answered makes one request at a plugin with these answers.
func answered(t *testing.T, answers *pluginserver.Answers, o pluginserver.Options, h access) {
	t.Helper()
	p := pluginserver.Plugin{Answers: answers, Start: func([]byte) (pluginserver.Handler, error) { return h, nil }}
	servertest.Serve(t, func(*slog.Logger) pluginserver.Plugin { return p }, o).Start(t, "{}").Access(t, &kongtest.Request{})
}

func TestAnswersAreCounted(t *testing.T) {
	verdict := func(v pluginserver.Verdict) access {
		return func(*pluginserver.Event) pluginserver.Verdict { return v }
	}
	for name, tt := range map[string]struct {
		handler access
		want    pluginserver.Answered
	}{
		"passed":       {verdict(pluginserver.Pass()), pluginserver.Answered{Answer: "ok", Count: 1}},
		"as another":   {verdict(pluginserver.PassAs("anonymous").Because("no_token")), pluginserver.Answered{Answer: "anonymous", Reason: "no_token", Count: 1}},
		"refused":      {verdict(pluginserver.Exit(401, "", nil).Because("no_token")), pluginserver.Answered{Answer: "401", Reason: "no_token", Count: 1}},
		"a fault":      {verdict(pluginserver.Fault()), pluginserver.Answered{Answer: "500", Reason: "unexpected", Count: 1}},
		"no verdict":   {verdict(pluginserver.Verdict{}), pluginserver.Answered{Answer: "500", Reason: "unexpected", Count: 1}},
		"a panic":      {func(*pluginserver.Event) pluginserver.Verdict { panic("") }, pluginserver.Answered{Answer: "500", Reason: "panic", Count: 1}},
		"its deadline": {func(e *pluginserver.Event) pluginserver.Verdict { <-e.Context().Done(); return pluginserver.Pass() }, pluginserver.Answered{Answer: "500", Reason: "deadline", Count: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			answers := pluginserver.NewAnswers()
			answered(t, answers, pluginserver.Options{EventTimeout: 20 * time.Millisecond}, tt.handler)
			if diff := cmp.Diff([]pluginserver.Answered{tt.want}, counted(answers)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is foreseen is there before it comes up, and what isn't is bounded: a store that
// had a reason of its own for each request would fill the memory, and Prometheus'.
func TestReasonsAreBounded(t *testing.T) {
	answers := pluginserver.NewAnswers(pluginserver.Answered{Answer: "503", Reason: "sealed"})
	if i := slices.Index(answers.All(), pluginserver.Answered{Answer: "503", Reason: "sealed"}); i < 0 {
		t.Errorf("not foreseen: %v", answers.All())
	}
	before := len(answers.All())
	p := pluginserver.Plugin{Answers: answers}
	p.Start = func(config []byte) (pluginserver.Handler, error) {
		return access(func(*pluginserver.Event) pluginserver.Verdict {
			return pluginserver.Exit(503, "", nil).Because(string(config))
		}), nil
	}
	s := servertest.Serve(t, func(*slog.Logger) pluginserver.Plugin { return p }, pluginserver.Options{})
	for i := range 100 {
		in := s.Start(t, fmt.Sprint("reason ", i))
		in.Access(t, &kongtest.Request{})
		in.Access(t, &kongtest.Request{})
	}
	all := answers.All()
	if len(all) != before+65 {
		t.Errorf("%d counts, before that %d", len(all), before)
	}
	if want := (pluginserver.Answered{Answer: "503", Reason: "other", Count: 2 * 36}); !slices.Contains(all, want) {
		t.Errorf("the rest is not %v: %v", want, all)
	}
}
