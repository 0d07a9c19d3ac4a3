package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/securefile"
)

// The environment variables of this package, beside blocklist.KeyVariable.
const (
	URLVariable              = "VAULT_AUTH_EVENTS"
	PasswordVariable         = "VAULT_AUTH_EVENTS_PASSWORD_FILE"
	SentinelPasswordVariable = "VAULT_AUTH_EVENTS_SENTINEL_PASSWORD_FILE"
	CAVariable               = "VAULT_AUTH_EVENTS_CA_FILE"
)

// Settings say where Redis is.
type Settings struct {
	addrs        []string
	user, secret string
	passwordFile string
	caFile       string
	db           int
	master       string // of Sentinel
	sentinelFile string // with Sentinel's own password
	cluster      bool
	tls          bool
}

// ParseSettings reads the variables. It returns nil if VAULT_AUTH_EVENTS is not set. It reads
// no file.
//
// VAULT_AUTH_EVENTS is redis:// or, with TLS, rediss://user@host:port/database, with
// several addresses separated by commas for a cluster (or one and ?cluster=true), or those
// of Sentinel with ?master=name.
func ParseSettings(getenv func(string) string) (*Settings, error) {
	text := getenv(URLVariable)
	if text == "" {
		return nil, nil
	}
	s, err := parseURL(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", URLVariable, err)
	}
	if getenv(blocklist.KeyVariable) == "" {
		return nil, fmt.Errorf("%s: it is needed with %s: name a file with a key that all nodes share (openssl rand -base64 32)", blocklist.KeyVariable, URLVariable)
	}
	s.passwordFile, s.sentinelFile, s.caFile = getenv(PasswordVariable), getenv(SentinelPasswordVariable), getenv(CAVariable)
	if s.passwordFile != "" && s.secret != "" {
		return nil, fmt.Errorf("%s: there is a password in %s too: leave one of them out", PasswordVariable, URLVariable)
	}
	if s.sentinelFile != "" && s.master == "" {
		return nil, fmt.Errorf("%s: it has an effect only with ?master=NAME in %s", SentinelPasswordVariable, URLVariable)
	}
	if s.caFile != "" && !s.tls {
		return nil, fmt.Errorf("%s: it has an effect only with rediss://", CAVariable)
	}
	return s, nil
}

// errURL doesn't repeat the URL, which may hold a password.
var errURL = errors.New("it must be a URL such as rediss://vault-auth@redis.internal:6379")

func parseURL(text string) (*Settings, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "redis" && u.Scheme != "rediss" {
		return nil, errURL
	}
	s := &Settings{tls: u.Scheme == "rediss", user: u.User.Username()}
	s.secret, _ = u.User.Password()
	query := u.Query()
	s.master, s.cluster = query.Get("master"), query.Get("cluster") == "true"
	for name := range query {
		if name != "master" && name != "cluster" {
			return nil, fmt.Errorf("it has no parameter %.40q: the parameters are master and cluster=true", name)
		}
	}
	port := "6379"
	if s.master != "" {
		port = "26379"
	}
	for _, host := range strings.Split(u.Host, ",") {
		if host == "" {
			return nil, errURL
		}
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		s.addrs = append(s.addrs, host)
	}
	s.cluster = s.cluster || len(s.addrs) > 1 && s.master == ""
	if db := strings.Trim(u.Path, "/"); db != "" {
		if s.db, err = strconv.Atoi(db); err != nil || s.db < 0 || s.cluster && s.db != 0 {
			return nil, errors.New("what follows the address must be the number of a database, and a cluster has only one")
		}
	}
	return s, nil
}

// Plain reports whether messages go to another machine without TLS.
func (s *Settings) Plain() bool {
	for _, addr := range s.addrs {
		host, _, _ := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); !s.tls && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return true
		}
	}
	return false
}

const (
	maxPassword = 4096
	maxCA       = 1 << 20
	ioTimeout   = time.Second // of a command, without what it waits for by intent
)

// client returns a client that connects on demand. Redis' password is read for each
// connection, so that it can be replaced. dialled is called for each connection.
func (s *Settings) client(name string, dialled func()) (redis.UniversalClient, error) {
	o := &redis.UniversalOptions{
		Addrs: s.addrs, DB: s.db, MasterName: s.master, IsClusterMode: s.cluster, ClientName: name,
		DialTimeout: 2 * ioTimeout, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, PoolTimeout: ioTimeout,
		ContextTimeoutEnabled: true, MaxRetries: -1, PoolSize: 4, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		CredentialsProviderContext: func(context.Context) (string, string, error) {
			secret, err := s.password()
			return s.user, secret, err
		},
		OnConnect: func(context.Context, *redis.Conn) error { dialled(); return nil },
	}
	if s.sentinelFile != "" {
		var err error
		if o.SentinelPassword, err = readPassword(s.sentinelFile); err != nil {
			return nil, err
		}
	}
	if s.tls {
		config, err := s.tlsConfig()
		if err != nil {
			return nil, err
		}
		o.TLSConfig = config
	}
	return redis.NewUniversalClient(o), nil
}

func (s *Settings) password() (string, error) {
	if s.passwordFile == "" {
		return s.secret, nil
	}
	return readPassword(s.passwordFile)
}

func readPassword(file string) (string, error) {
	b, err := securefile.Read(file, securefile.Group, maxPassword)
	return strings.TrimRight(string(b), "\r\n"), err
}

func (s *Settings) tlsConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.caFile == "" {
		return c, nil
	}
	b, err := securefile.Read(s.caFile, securefile.Anybody, maxCA)
	if err != nil {
		return nil, err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", s.caFile)
	}
	return c, nil
}
