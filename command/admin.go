package command

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"kong-vault-auth/admin"
	"kong-vault-auth/pluginserver"
)

// adminFlags is the command "admin" with its flags.
type adminFlags struct {
	*Program
	listener   admin.Listener
	tokenFile  string
	auditFile  string
	noLiterals bool
}

func (p *Program) admin() *cobra.Command {
	o := &adminFlags{Program: p}
	name := p.Name + " admin"
	c := &cobra.Command{
		Use:   "admin",
		Short: "Serve an Admin API for vault objects and credentials",
		Long: `Serve an Admin API with the paths that Kong Enterprise has for vault objects and
credentials. /openapi.json describes it.

A unix socket has mode 0600 and lets in its own user and root. Anything else needs
bearer tokens, and TLS as well unless it listens on a loopback address.

Vault objects are kept in the file that VAULT_AUTH_VAULTS_FILE names, which the plugin
server reads. Run the command as the plugin server's user. The login to write with is
the same as for "` + p.Name + ` credential".`,
		Example: "  " + name + "\n" +
			"  curl --unix-socket /run/kong/vault-auth-admin.socket http://localhost/vault-auth\n" +
			"  " + name + " --listen 127.0.0.1:8010 --bearer-file /etc/vault-auth-admin/bearer\n" +
			"  " + name + " --listen 192.0.2.7:8010 --host vault-auth.example.com --bearer-file bearer --tls-cert tls.crt --tls-key tls.key",
		Args: cobra.NoArgs,
		RunE: p.run(func(ctx context.Context, _ []string) error { return o.run(ctx) }),
	}
	f := c.Flags()
	f.StringVar(&o.listener.Address, "listen", "unix:/run/kong/vault-auth-admin.socket", "`address`: unix:PATH, or HOST:PORT")
	f.StringVar(&o.listener.BearerFile, "bearer-file", "", "`file` of the tokens that let a client in, lines of NAME:TOKEN")
	f.StringVar(&o.listener.CertFile, "tls-cert", "", "`file` with the certificate to serve TLS with")
	f.StringVar(&o.listener.KeyFile, "tls-key", "", "`file` with its key")
	f.StringSliceVar(&o.listener.Hosts, "host", nil, "`names` by which clients know this server, in addition to its address")
	f.StringVar(&o.tokenFile, "token-file", "", "`file` with the Vault token to write with")
	f.StringVar(&o.auditFile, "audit-log", "", "`file` of mode 0600 to append a line to for each change; standard output if left out")
	f.BoolVar(&o.noLiterals, "no-literals", false, "write no secret into the vaults file, only references such as {vault://env/NAME}")
	return c
}

func (o *adminFlags) run(ctx context.Context) error {
	if err := o.listener.Check(); err != nil {
		return usageError{err}
	}
	audit := o.Stdout
	if o.auditFile != "" {
		f, err := openPrivate("--audit-log", o.auditFile)
		if err != nil {
			return err
		}
		defer f.Close()
		audit = f
	}
	s := &admin.Server{
		Kinds: o.Kinds, Version: o.Version, Getenv: o.Getenv, TokenFile: o.tokenFile, NoLiterals: o.noLiterals,
		Now: o.Now, Audit: audit, Log: slog.New(pluginserver.NewLog(o.Stderr, slog.LevelInfo)),
	}
	return admin.Serve(ctx, s, o.listener, func(a net.Addr) {
		fmt.Fprintf(o.Stderr, "%s: the Admin API listens at %s\n", o.Name, a)
	})
}
