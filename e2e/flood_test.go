package e2e

import (
	"net/http"
	"testing"
	"time"

	"kong-vault-auth/e2e/program"
)

// TestFloodOfUnknownTokensHarmsNobody: 50,000 different tokens a minute, for
// some seconds, beside good requests.
func TestFloodOfUnknownTokensHarmsNobody(t *testing.T) {
	const (
		budget  = 200
		share   = budget / 10 // of one client address
		lasting = 6 * time.Second
		// Each waits for up to 2 s, so they are sent by many.
		attackers = 400
		interval  = time.Minute / 50_000
	)
	w := newEnv(t)
	known := w.credentials(20)
	proxy, config := w.behindProxy(object{"ttl": 1, "max_lookups_per_second": budget})
	g := w.start(w.guarded("/", config))
	w.warm(g, known)
	pid := pluginServers(t, g)[0]
	before := program.MemoryMiB(pid)
	proxy.Forget()

	good := startFlow(w, g, 4, inTurn(known...))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: attackers}}
	defer client.CloseIdleConnections()
	guess := flow{tally: tally{answers: map[int]int{}}}
	room := make(chan struct{}, attackers)
	var sent int
	began := time.Now()
	for time.Since(began) < lasting {
		// As many as are due by now, or as fit.
		for due := int(time.Since(began) / interval); sent < due && len(room) < attackers; sent++ {
			room <- struct{}{}
			guess.clients.Go(func() {
				asked := time.Now()
				guess.add(w.fetch(client, g.URL(), http.MethodGet, "/", newPair().header(), ""), time.Since(asked))
				<-room
			})
		}
		<-time.After(interval)
	}
	guess.clients.Wait()
	lasted := time.Since(began)
	good.stop().all200(t, "known pairs")

	reads := 0
	for _, r := range proxy.Requests() {
		if r.Status == http.StatusNotFound {
			reads++
		}
	}
	// A second's worth may be saved up.
	if most := int(share * (lasted.Seconds() + 1)); reads > most {
		t.Errorf("%d lookups found nothing in %s, want at most %d", reads, lasted, most)
	}
	got := guess.tally
	if got.answers[401]+got.answers[429] != sent || got.answers[429] == 0 {
		t.Errorf("%d unknown tokens: %v, want 401 and 429", sent, got)
	}
	t.Logf("%d unknown tokens in %s: %v; %d lookups found nothing; the plugin's memory was %d MiB before and is %d MiB",
		sent, lasted.Round(time.Second), got, reads, before, program.MemoryMiB(pid))
}
