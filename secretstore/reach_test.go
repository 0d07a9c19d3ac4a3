package secretstore

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// reaching is a Reach that a setting limits; an empty one limits nothing.
func reaching(t *testing.T, setting string) Reach {
	t.Helper()
	if setting == "" {
		return Reach{}
	}
	r, err := ParseReach(setting)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The parts of errors that tell them apart.
const (
	isNever    = "the plugin never connects to those"
	isUnlisted = "is not among VAULT_AUTH_INLINE_HOSTS, which"
	isHidden   = "its address is known only to the proxy"
	isUnusual  = "written in an unusual way"
)

func wantReach(t *testing.T, what string, err error, want string) {
	t.Helper()
	var reach *ReachError
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", what, err)
	case want != "" && (!errors.As(err, &reach) || !strings.Contains(err.Error(), want) || reach.Remedy == ""):
		t.Errorf("%s: %v, want a ReachError with %q", what, err, want)
	}
}

func TestWhereObjectsMayConnect(t *testing.T) {
	const list = "vault.internal, *.Example.com\n10.0.0.0/8 192.168.1.7,fd12::/16"
	tests := []struct {
		hosts, host string
		known       string // what is said before the name is resolved
		proxied     string // where a proxy resolves it
	}{
		{"", "vault.internal", "", ""},
		{"", "127.0.0.1", "", ""},
		{"", "[::1]", "", ""},
		{"", "169.254.169.254", isNever, isNever},
		{"", "169.254.0.1", isNever, isNever},
		{"", "::ffff:169.254.169.254", isNever, isNever},
		{"", "64:ff9b::a9fe:a9fe", isNever, isNever},
		{"", "64:ff9b::808:808", "", ""},
		{"", "fe80::1", isNever, isNever},
		{"", "fe80::1%eth0", isNever, isNever},
		{"", "[fd00:ec2::254]", isNever, isNever},
		{"", "fd20:ce::254", isNever, isNever},
		{"", "fd00:42::42", isNever, isNever},
		{"", "168.63.129.16", isNever, isNever},
		{"", "168.63.129.17", "", ""},
		{"", "100.100.100.200", isNever, isNever},
		{"", "192.0.0.192", isNever, isNever},
		{"", "metadata.google.internal", isNever, isNever},
		{"", "Metadata.Google.Internal.", isNever, isNever},
		{"", "2852039166", "", isUnusual},
		{"", "0xa9fea9fe", "", isUnusual},
		{"", "169.254.43518", "", isUnusual},
		{"", "0251.0376.0251.0376", "", isUnusual},

		{list, "vault.internal", "", ""},
		{list, "VAULT.internal.", "", ""},
		{list, "a.vault.internal", "", isHidden},
		{list, "a.example.com", "", ""},
		{list, "a.b.example.com", "", ""},
		{list, "example.com", "", isHidden},
		{list, ".example.com", "", isHidden},
		{list, "badexample.com", "", isHidden},
		{list, "10.1.2.3", "", ""},
		{list, "::ffff:10.1.2.3", "", ""},
		{list, "11.1.2.3", isUnlisted, isUnlisted},
		{list, "192.168.1.7", "", ""},
		{list, "192.168.1.8", isUnlisted, isUnlisted},
		{list, "fd12::1", "", ""},
		{list, "fd13::1", isUnlisted, isUnlisted},
		{list, "127.0.0.1", isUnlisted, isUnlisted},
		{list, "169.254.169.254", isNever, isNever},

		{"vault.internal", "vault.internal", "", ""},
		{"vault.internal", "other.internal", isUnlisted, isUnlisted},
		{"vault.internal", "10.0.0.1", isUnlisted, isUnlisted},
		{"0.0.0.0/0", "169.254.169.254", isNever, isNever},
		{"169.254.0.0/16", "169.254.169.254", isNever, isNever},
		{"metadata.google.internal", "metadata.google.internal", isNever, isNever},
	}
	for _, tt := range tests {
		r := reaching(t, tt.hosts)
		wantReach(t, tt.host+" of "+tt.hosts, r.Host(tt.host), tt.known)
		wantReach(t, tt.host+" of "+tt.hosts+", through a proxy", r.proxied(tt.host), tt.proxied)
	}
}

func TestWhatANameResolvesToIsChecked(t *testing.T) {
	const list = "vault.internal, 10.0.0.0/8"
	for _, tt := range []struct{ hosts, host, address, want string }{
		{"", "vault.internal", "127.0.0.1", ""},
		{"", "vault.internal", "169.254.169.254", "vault.internal leads to 169.254.169.254, which is link-local"},
		{"", "vault.internal", "::ffff:169.254.169.254", isNever},
		{"", "vault.internal", "fe80::1%lo", isNever},
		{list, "vault.internal", "8.8.8.8", ""},
		{list, "vault.internal", "100.100.100.200", isNever},
		{list, "other.internal", "10.1.1.1", ""},
		{list, "other.internal", "::ffff:10.1.1.1", ""},
		{list, "other.internal", "8.8.8.8", "other.internal leads to 8.8.8.8, which is not among VAULT_AUTH_INLINE_HOSTS"},
	} {
		err := reaching(t, tt.hosts).address(tt.host, netip.MustParseAddr(tt.address))
		wantReach(t, tt.host+" at "+tt.address+" of "+tt.hosts, err, tt.want)
	}
}

func TestHostListsThatCantBeRead(t *testing.T) {
	for _, setting := range []string{
		",", " ", "*", "*.", "vault.internal:8200", "https://vault.internal", "10.0.0.0/33", "10.0.0", "10.0.0.0/8/8",
		"a..b", "*.*.example.com", "v*.example.com", "fe80::1%eth0", "::ffff:10.0.0.0/104", "user@vault", "vault.internal/v1", "0x7f",
	} {
		if r, err := ParseReach(setting); err == nil {
			t.Errorf("%q is read as %+v", setting, r.hosts)
		}
	}
}

// A transport guarded in the way that the stores do it.
func TestGuardedTransport(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "asked for "+r.Host) // as a proxy too
	}))
	defer server.Close()
	direct := func(host string) string { return "http://" + net.JoinHostPort(host, port(server.URL)) }
	tests := []struct {
		name, hosts, url string
		proxy            string
		concerns         func(string) bool
		want             string // the error; empty: it is answered
	}{
		{"any", "", direct("127.0.0.1"), "", nil, ""},
		{"by name", "localhost", direct("localhost"), "", nil, ""},
		{"by address", "127.0.0.0/8, ::1", direct("localhost"), "", nil, ""},
		{"name that is listed, at another address", "localhost, 10.0.0.0/8", direct("localhost"), "", nil, ""},
		{"name that isn't listed, at another address", "10.0.0.0/8", direct("localhost"), "", nil, "localhost leads to "},
		{"name that isn't listed", "vault.internal", direct("localhost"), "", nil, isUnlisted},
		{"address that isn't listed", "10.0.0.0/8", direct("127.0.0.1"), "", nil, isUnlisted},
		{"link-local", "", "http://169.254.169.254:1", "", nil, isNever},
		{"not concerned", "10.0.0.0/8", direct("127.0.0.1"), "", func(host string) bool { return host == "other" }, ""},

		{"through a proxy", "vault.internal", "http://vault.internal", server.URL, nil, ""},
		{"through a proxy to anywhere", "", "http://vault.internal", server.URL, nil, ""},
		{"through a proxy to a listed address", "10.0.0.0/8", "http://10.1.1.1", server.URL, nil, ""},
		{"through a proxy by address", "10.0.0.0/8", "http://vault.internal", server.URL, nil, isHidden},
		{"through a proxy to what isn't listed", "vault.internal", "http://other.internal", server.URL, nil, isUnlisted},
		{"through a proxy, link-local", "", "http://169.254.169.254", server.URL, nil, isNever},
		{"through a proxy, not concerned", "", "http://169.254.169.254", server.URL, func(host string) bool { return false }, ""},
		{"to the proxy itself", "10.0.0.0/8", server.URL, "", nil, isUnlisted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			transport := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) {
				if tt.proxy == "" {
					return nil, nil
				}
				return url.Parse(tt.proxy)
			}}
			defer transport.CloseIdleConnections()
			reaching(t, tt.hosts).Guard(transport, &net.Dialer{}, tt.concerns)
			resp, err := (&http.Client{Transport: transport}).Get(tt.url)
			if err == nil {
				resp.Body.Close()
			}
			wantReach(t, tt.url, err, tt.want)
		})
	}
}

func port(address string) string {
	u, _ := url.Parse(address)
	return u.Port()
}

func TestWhereAProxyIsDialled(t *testing.T) {
	for proxy, want := range map[string]string{
		"http://proxy": "proxy:80", "https://proxy": "proxy:443", "socks5://proxy": "proxy:1080", "http://[::1]": "[::1]:80", "http://proxy:3128": "proxy:3128",
	} {
		u, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		var dialled string
		transport := &http.Transport{
			Proxy: http.ProxyURL(u),
			DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
				dialled = address
				return nil, errors.New("nothing is dialled")
			},
		}
		(&http.Client{Transport: transport}).Get("http://vault.internal")
		if got := dialledAt(u); got != want || got != dialled {
			t.Errorf("%s: %s, want %s; net/http dials %s", proxy, got, want, dialled)
		}
	}
}
