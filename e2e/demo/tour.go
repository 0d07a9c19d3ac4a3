package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/example"
)

// step is one request of the tour.
type step struct {
	title   string
	before  func(context.Context) error // what happens first; nil for nothing
	query   string
	headers []string // "name: value"
	status  int      // what the answer must be
}

// tour takes the steps. Its error says which answers were not as announced.
func (s *env) tour(ctx context.Context) error {
	pair := []string{"access_token: " + accessToken, "secret_token: " + secretToken}
	steps := []step{
		{"Without tokens, a request is refused.", nil, "", nil, 401},
		{"With the pair in headers, the upstream is told who calls, and gets no tokens.", nil, "", pair, 200},
		{"The query string does as well.", nil, "?access_token=" + accessToken + "&secret_token=" + secretToken, nil, 200},
		{"With a wrong secret token, it is refused.", nil, "", []string{pair[0], "secret_token: guessed"}, 401},
		{s.store.words().name + " is stopped now, and the pair still works.", func(context.Context) error { return s.store.Stop() }, "", pair, 200},
	}
	var differed []string
	for i, step := range steps {
		s.say("\n%d. %s\n", i+1, step.title)
		if err := s.take(ctx, step); err != nil {
			s.say("   NOT as announced: %v", err)
			differed = append(differed, fmt.Sprintf("step %d: %v", i+1, err))
		}
	}
	if err := s.store.Restart(ctx); err != nil {
		return err
	}
	if differed != nil {
		return errors.New(strings.Join(differed, "; "))
	}
	return nil
}

// take shows a step as a curl, sends the same request, and shows the answer.
func (s *env) take(ctx context.Context, step step) error {
	if step.before != nil {
		if err := step.before(ctx); err != nil {
			return err
		}
	}
	url := s.gateway + "/orders" + step.query
	s.say("   $ %s", curl(url, step.headers))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	for _, line := range step.headers {
		name, value, _ := strings.Cut(line, ": ")
		req.Header[name] = []string{value}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	s.say("   HTTP %s", resp.Status)
	if resp.StatusCode != step.status {
		return fmt.Errorf("answered %d, not %d: %s", resp.StatusCode, step.status, body)
	}
	if resp.StatusCode == http.StatusOK {
		return s.showUpstream(body)
	}
	s.say("   WWW-Authenticate: %s\n   %s", resp.Header.Get("WWW-Authenticate"), body)
	return nil
}

func curl(url string, headers []string) string {
	words := []string{"curl -i '" + url + "'"}
	for _, line := range headers {
		words = append(words, "-H '"+line+"'")
	}
	return strings.Join(words, " ")
}

// showUpstream shows which identity the upstream received, and checks that it is the consumer's
// and that there is no token.
func (s *env) showUpstream(body []byte) error {
	var seen echo.Request
	if err := json.Unmarshal(body, &seen); err != nil {
		return fmt.Errorf("the upstream's answer: %w", err)
	}
	s.say("   The upstream received %s %s with", seen.Method, seen.URI)
	for _, name := range []string{"X-Consumer-Id", "X-Consumer-Username", "X-Consumer-Custom-Id", "X-Credential-Identifier"} {
		s.say("     %s: %s", name, seen.Header.Get(name))
	}
	if got := seen.Header.Values("X-Consumer-Username"); !slices.Equal(got, []string{example.Consumer}) {
		return fmt.Errorf("the upstream was told of consumer %q, not %q", got, example.Consumer)
	}
	if strings.Contains(string(body), secretToken) {
		return errors.New("the upstream was sent the secret token")
	}
	return nil
}
