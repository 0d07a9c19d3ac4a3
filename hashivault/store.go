package hashivault

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// store is a secretstore.Store on one path of one KV mount.
type store struct {
	settings settings
	identity string
	conn     *conn
	redial   *secretstore.Redial
	sessions *sessions
	operator bool // the login is an operator's, not the plugin's
	closed   atomic.Bool
	found    atomic.Bool // a record has been found since the store was opened
}

// Open returns a store for a vault object. It does no network I/O and never waits:
// the login starts in the background, and reads wait for it within their own
// deadline. So a plugin can start while Vault is down or a file is missing.
//
// It refuses the settings that secretstore.Check refuses, with an error that matches
// secretstore.ErrConfig. cfg must be complete, with defaults and, for an object that
// the node defines, the settings from the environment.
func Open(cfg Config, o secretstore.OpenOptions) (secretstore.Store, error) {
	s, err := checkedSettings(cfg, o)
	if err != nil {
		return nil, err
	}
	return open(s, o, newTransport(s.dialing))
}

func checkedSettings(cfg Config, o secretstore.OpenOptions) (settings, error) {
	origin := secretstore.Origin{Node: o.TrustNode, Kong: o.Kong, Reach: o.Reach}
	_, err := secretstore.Check(o.Name, &cfg, origin)
	return newSettings(&cfg, &secretstore.Problems{Origin: origin}), err
}

// open is Open with checked settings, and with a transport that tests can replace.
func open(s settings, o secretstore.OpenOptions, t roundTripper) (*store, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("vault", o.Name)
	c, err := newConn(s, o.UserAgent, t)
	if err != nil {
		return nil, err
	}
	return &store{settings: s, identity: o.Identity, conn: c, redial: secretstore.NewRedial(c.redial), sessions: startSessions(s, c, log)}, nil
}

// Key is the access token itself: Vault's paths are case-sensitive.
func (s *store) Key(accessToken string) string { return accessToken }

// LoginEnds is when the Vault token in use ends unless it is renewed.
func (s *store) LoginEnds() time.Time { return s.sessions.loginEnds() }

// Close stops the renewal of the Vault token, and revokes the token if the store
// obtained it by a login and no file keeps it for the next process. Reads after
// Close fail. The error says that the token could not be revoked; it then remains
// valid until its ttl has passed. Closing again does nothing.
func (s *store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	err := s.sessions.close()
	s.conn.http.CloseIdleConnections()
	return err
}

// secretName is the path of one secret, for Vault and for messages.
type secretName struct {
	accessToken string // or a slash and the path of another secret; see name
	path        string // for Vault
	shown       string // for messages: that of a record ends in the fingerprint
	version     string // of KV v2; empty: the current one
}

// name is the path of an access token's record. If accessToken begins with a slash, as
// no access token does, it is the path of another secret in the mount, which messages
// may show.
func (s *store) name(accessToken, kv string) secretName {
	if name, plain := strings.CutPrefix(accessToken, "/"); plain {
		path := s.settings.secret(kv) + "/" + name
		return secretName{accessToken: accessToken, path: path, shown: path}
	}
	folder := s.settings.folder(kv)
	fingerprint := credential.Fingerprint(credential.ID(s.identity, accessToken))
	return secretName{accessToken: accessToken, path: folder + "/" + accessToken, shown: folder + "/" + fingerprint}
}

// redact replaces the access token in a message of Vault's with the fingerprint. It
// drops the whole message if the token could still be in it.
func (n secretName) redact(text string) string {
	text = strings.ReplaceAll(text, n.path, n.shown)
	if strings.Contains(strings.ReplaceAll(text, n.shown, ""), n.accessToken) {
		return ""
	}
	return text
}

// policy is the minimal stanza that lets a token read every record, or the one
// secret that isn't a record.
func (s *store) policy(name secretName, kv string) string {
	path := s.settings.folder(kv) + "/*"
	if strings.HasPrefix(name.accessToken, "/") {
		path = s.name(name.accessToken, kv).path
	}
	return fmt.Sprintf(`path "%s" { capabilities = ["read"] }`, path)
}
