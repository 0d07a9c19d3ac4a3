package command

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// vaultCheck is the command "vault check" with its flags and what it finds.
type vaultCheck struct {
	*Program
	nodes   int
	active  int // credentials in use; 0: all that are listed
	timeout time.Duration

	object  vault.Definition
	store   secretstore.Store
	inspect secretstore.Inspector
	listed  int // credentials; -1: they can't be listed
	findings
}

// findings is the result of a check.
type findings struct {
	Vault    string    `json:"vault"`
	Steps    []step    `json:"steps"`
	Warnings []string  `json:"warnings,omitempty"`
	Reads    *expected `json:"expected_reads,omitempty"`
}

// step is the result of one thing that the plugin does.
type step struct {
	Name    string  `json:"step"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Detail  string  `json:"detail,omitempty"`
}

// expected is how often the plugin servers will read.
type expected struct {
	PerSecond   float64 `json:"per_second"`
	Credentials int     `json:"credentials"`
	Nodes       int     `json:"nodes"`
	Limit       float64 `json:"limit_per_second,omitempty"` // of the store; 0: it has none of its own
}

func (p *Program) vaultCheck() *cobra.Command {
	o := &vaultCheck{Program: p}
	name := p.Name + " vault check"
	c := &cobra.Command{
		Use:   "check [NAME]",
		Short: "Try a vault object as the plugin uses it",
		Long: `Try a vault object as the plugin uses it: resolve, connect, log in, read and list, with
the plugin's own login. Each step is timed. The first that fails is explained, with what
to do about it.

It also says how many reads a second to expect, from the number of credentials and nodes
and the object's ttl, and warns if the plugin's login may write. Nothing is written.`,
		Example: "  " + name + " kong-auth\n" +
			"  " + name + " kong-auth --nodes 6\n" +
			"  " + name + " kong-auth -o json",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: p.completeObjects,
		RunE:              p.run(o.run),
	}
	c.Flags().IntVar(&o.nodes, "nodes", 1, "how many nodes run a plugin server")
	c.Flags().IntVar(&o.active, "active", 0, "how many credentials are in use; all, if left out")
	c.Flags().DurationVar(&o.timeout, "timeout", 10*time.Second, "how long one step may take")
	return c
}

func (o *vaultCheck) run(ctx context.Context, args []string) error {
	if o.nodes < 1 || o.active < 0 {
		return usage("--nodes must be at least 1, and --active not negative")
	}
	d, err := o.defined()
	if err != nil {
		return err
	}
	if o.object, err = d.Object(strings.Join(args, "")); err != nil {
		return err
	}
	o.Vault = o.object.Name
	if u, ok := o.object.Config.(secretstore.SingleUse); ok && u.SingleUse() {
		return usage("%s logs in with a secret that works once: a check would take it from the plugin server", o.Vault)
	}
	o.Warnings, _ = d.Problems(o.object)
	if o.store, err = d.Open(o.object); err != nil {
		return err
	}
	defer o.store.Close()
	o.inspect = o.store.(secretstore.Inspector)
	if err = o.try(ctx); err == nil {
		o.expect(d.ReadLimit(o.object))
	}
	return cmp.Or(err, o.print())
}

// try makes the steps, up to the first that fails.
func (o *vaultCheck) try(ctx context.Context) error {
	network, address, proxied := dialled(o.inspect.Address())
	steps := []struct {
		name string
		do   func(context.Context) (detail string, err error)
	}{
		{"resolve", func(ctx context.Context) (string, error) { return resolve(ctx, network, address, proxied) }},
		{"connect", func(ctx context.Context) (string, error) { return connect(ctx, network, address) }},
		{"log in", func(ctx context.Context) (string, error) { return "", o.inspect.Login(ctx) }},
		{"read", o.read},
		{"list", o.list},
		{"rights", o.rights},
	}
	for _, s := range steps {
		within, cancel := context.WithTimeout(ctx, o.timeout)
		start := time.Now()
		detail, err := s.do(within)
		cancel()
		o.Steps = append(o.Steps, step{s.name, err == nil, time.Since(start).Seconds(), detail})
		if err != nil {
			return err
		}
	}
	return nil
}

// dialled is where a request for a URL connects to: to a proxy, if the environment names
// one for it.
func dialled(u *url.URL) (network, address string, proxied bool) {
	if u.Scheme == "unix" {
		return u.Scheme, u.Path, false
	}
	if proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u}); err == nil && proxy != nil {
		u, proxied = proxy, true
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return "tcp", net.JoinHostPort(u.Hostname(), port), proxied
}

func resolve(ctx context.Context, network, address string, proxied bool) (string, error) {
	if network == "unix" {
		return address, nil
	}
	host, _, _ := net.SplitHostPort(address)
	if net.ParseIP(host) != nil && !proxied {
		return host + " is an address", nil
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return "", &secretstore.Failure{Op: "resolve " + host, Reason: "network", Err: err,
			Remedy: "check the host in the vault object, and this machine's name servers"}
	}
	detail := host + " is " + strings.Join(addresses, ", ")
	if proxied {
		detail += ", a proxy that the environment names"
	}
	return detail, nil
}

func connect(ctx context.Context, network, address string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err == nil {
		return "", conn.Close()
	}
	remedy := "check that no firewall between this node and " + address + " drops the connection"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		remedy = "nothing listens there: check host and port, and that the store is running"
	case errors.Is(err, os.ErrNotExist):
		remedy = "check unix_socket, and that Vault Agent is running"
	}
	return "", &secretstore.Failure{Op: "connect to " + address, Reason: "network", Err: err, Remedy: remedy}
}

// read reads a record that doesn't exist. The store must say so.
func (o *vaultCheck) read(ctx context.Context) (string, error) {
	_, err := o.store.Read(ctx, "vault-auth-check-"+strings.ToLower(rand.Text()))
	if errors.Is(err, cache.ErrAbsent) {
		err = nil
	}
	return "", err
}

// list counts the credentials. Without revocation_interval the plugin never lists, so a
// failure is not an error.
func (o *vaultCheck) list(ctx context.Context) (string, error) {
	o.listed = 0
	err := o.store.(secretstore.Lister).List(ctx, func(page []secretstore.Listed) error {
		for _, l := range page {
			if !l.Disabled {
				o.listed++
			}
		}
		return nil
	})
	switch {
	case err == nil:
		return fmt.Sprintf("%d credentials", o.listed), nil
	case o.object.Config.Common().RevocationInterval > 0:
		return "", err
	}
	o.listed = -1
	return "not possible, and not needed without revocation_interval", nil
}

// rights warns if the login may do more than the plugin needs.
func (o *vaultCheck) rights(ctx context.Context) (string, error) {
	may, err := o.inspect.MayWrite(ctx)
	switch {
	case err != nil:
		return "can't be found out: " + err.Error(), nil
	case may:
		o.Warnings = append(o.Warnings, "the plugin's login may write credentials: whoever steals it could make their own. Give it a policy or role that can only read")
		return "reads and writes", nil
	}
	return "reads only", nil
}

// refreshedAfter is the mean share of its ttl after which a cached credential is read
// again: 80 %, less up to 10 % of that as jitter.
const refreshedAfter = 0.76

// expect calculates how often all nodes together will read.
func (o *vaultCheck) expect(limit float64) {
	n := o.active
	if n == 0 {
		n = o.listed
	}
	if n < 0 {
		o.Warnings = append(o.Warnings, "the number of reads can't be calculated: give the number of credentials in use with --active")
		return
	}
	perSecond := float64(n*o.nodes) / (refreshedAfter * ttlOf(o.object).Seconds())
	o.Reads = &expected{perSecond, n, o.nodes, limit}
	if limit > 0 && perSecond > limit {
		o.Warnings = append(o.Warnings, fmt.Sprintf("%.0f reads a second are more than the %.0f that the store allows: raise ttl, or spread credentials over several stores", perSecond, limit))
	}
}

// ttlOf is the ttl that applies to the object.
func ttlOf(o vault.Definition) time.Duration {
	l := o.Config.Common()
	if l.TTL == 0 {
		return l.MaxTTL.Duration()
	}
	return min(l.TTL, l.MaxTTL).Duration()
}

func (o *vaultCheck) print() error {
	if o.output == outputJSON {
		return o.printJSON(o.findings)
	}
	t := o.newTable("STEP", "", "TIME", "")
	for _, s := range o.Steps {
		state := "ok"
		if !s.OK {
			state = "FAILED"
		}
		t.row(s.Name, state, time.Duration(s.Seconds*float64(time.Second)).Round(100*time.Microsecond).String(), s.Detail)
	}
	if err := t.flush(); err != nil {
		return err
	}
	if r := o.Reads; r != nil {
		allows := "the store has no limit of its own"
		if r.Limit > 0 {
			allows = fmt.Sprintf("the store allows %.0f", r.Limit)
		}
		fmt.Fprintf(o.Stdout, "\nExpected reads: %.1f a second, with all of %d credentials in use on %d nodes and a ttl of %v; %s.\n",
			r.PerSecond, r.Credentials, r.Nodes, ttlOf(o.object), allows)
	}
	for _, w := range o.Warnings {
		fmt.Fprintf(o.Stdout, "Warning: %s\n", clean(w))
	}
	return nil
}
