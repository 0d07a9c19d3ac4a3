// Package kongstatus asks the Status API of a Kong node whether Kong's database
// can be reached, and which version of Kong it is.
package kongstatus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Default is where Kong's Status API listens unless status_listen says otherwise (in Kong
// 3.6 and newer; in older ones it is off by default).
const Default = "http://127.0.0.1:8007"

// Client is a client of one Status API.
type Client struct {
	url  string
	http *http.Client
}

// New returns a client for a setting: a URL, or an empty string, which means Default. For
// "off" it returns nil. Kong's status_listen knows no unix sockets, so neither does New.
func New(setting string) (*Client, error) {
	switch setting {
	case "off":
		return nil, nil
	case "":
		setting = Default
	}
	u, err := url.Parse(setting)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("it must be off or a URL, such as %s, not %.100q", Default, setting)
	}
	return &Client{url: u.JoinPath("status").String(), http: &http.Client{
		// It uses no proxy, since the Status API is on the same machine. It makes a
		// new connection for each request, because requests are rare, and an old
		// connection may lead to a worker that a reload has replaced.
		Transport:     &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 2 * time.Second}).DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Status is what a Kong node says about itself.
type Status struct {
	// DatabaseReachable says whether Kong could connect to its database. It is true on a
	// node without one: DB-less, and data planes in hybrid mode.
	DatabaseReachable bool
	// Version is Kong's, such as "3.9.1". It is empty if the setting headers in kong.conf
	// hides it.
	Version string
}

const maxBody = 64 << 10 // bytes; Kong's answer has about 500 for each worker

// Ask asks for the status. An error means that it is unknown, also if something other than
// Kong has answered.
func (c *Client) Ask(ctx context.Context) (Status, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return Status{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Status{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return Status{}, fmt.Errorf("GET %s: %s", c.url, resp.Status)
	}
	var body struct {
		Database *struct {
			Reachable *bool `json:"reachable"`
		} `json:"database"`
		// Only nodes without a database have it. Since Kong 3.4, only those lack
		// "database".
		ConfigurationHash *string `json:"configuration_hash"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxBody)).Decode(&body); err != nil {
		return Status{}, fmt.Errorf("GET %s: %w", c.url, err)
	}
	s := Status{Version: version(resp.Header.Get("Server"))}
	switch {
	case body.Database != nil && body.Database.Reachable != nil:
		s.DatabaseReachable = *body.Database.Reachable
	case body.ConfigurationHash != nil:
		s.DatabaseReachable = true
	default:
		return Status{}, fmt.Errorf("GET %s: %w", c.url, errNotKong)
	}
	return s, nil
}

var errNotKong = errors.New("the answer is not one of Kong's Status API")

// version returns the version in Kong's Server header: "kong/3.9.1", or
// "kong/3.10.0.1-enterprise-edition".
func version(server string) string {
	v, ok := strings.CutPrefix(server, "kong/")
	if !ok {
		return ""
	}
	v, _, _ = strings.Cut(v, "-")
	return v
}

// OlderThan reports whether the version is known and older than major.minor.
func (s Status) OlderThan(major, minor int) bool {
	first, rest, _ := strings.Cut(s.Version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(second)
	if err1 != nil || err2 != nil {
		return false
	}
	return a < major || a == major && b < minor
}
