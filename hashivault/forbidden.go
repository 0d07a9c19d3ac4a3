package hashivault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"kong-vault-auth/secretstore"
)

// attempt is one request with the token of one session.
type attempt struct {
	op     string // for messages
	send   func() (*answer, error)
	failed func(op string, err error) *secretstore.Failure // an error of send
	denied func(tokenInfo) error                           // a 403 for a token that Vault accepts
}

// ask makes a request with the current session. If Vault answers 403, it asks whether
// Vault still accepts the token. If not, it gets another token and repeats the
// request, once. It returns the answer, which is not Vault's own 403, and the session
// that was used.
func (s *store) ask(ctx context.Context, current *session, with func(*session) attempt) (*answer, *session, error) {
	for renewed := false; ; renewed = true {
		try := with(current)
		a, err := try.send()
		if err != nil {
			return nil, nil, try.failed(try.op, err)
		}
		if !a.forbidden() {
			return a, current, nil
		}
		status, err := s.tokenStatus(ctx, current)
		if err != nil {
			return nil, nil, err
		}
		if status.accepted {
			return nil, nil, try.denied(status.token)
		}
		refusal := s.refusal(try.op, renewed)
		if renewed {
			return nil, nil, refusal
		}
		if current, err = s.sessions.replace(ctx, current, refusal); err != nil {
			return nil, nil, err
		}
	}
}

// tokenStatus asks whether Vault still accepts a session's token.
func (s *store) tokenStatus(ctx context.Context, current *session) (tokenStatus, error) {
	status, err := current.check.do(ctx, func(ctx context.Context) (tokenStatus, error) {
		if current.refused.Load() {
			return tokenStatus{}, nil
		}
		return s.conn.tokenStatus(ctx, current.token)
	})
	if err == nil && status.accepted {
		s.sessions.noteAccepted(current)
	}
	return status, err
}

// refusal is the failure of a request whose token Vault no longer accepts.
func (s *store) refusal(op string, renewed bool) *secretstore.Failure {
	f := &secretstore.Failure{Op: op, Reason: "token", Remedy: s.settings.method.remedy(), LoginRefused: true}
	f.Err = errors.New("the Vault token is refused: it has expired or was revoked")
	if in := s.settings.loginNamespace; in != "" {
		f.Remedy += fmt.Sprintf("; and check that the token is one of the namespace %s, or set auth_namespace", in)
	}
	if renewed {
		f.Err = errors.New("even a token that has just been obtained is refused")
		f.Remedy = "check that its role grants a policy that reads below " + s.settings.mount + "/"
	}
	if s.operator {
		f.Remedy = "log in again: vault login, or renew the token in VAULT_TOKEN, --token-file or VAULT_AUTH_WRITE_FILE"
	}
	return f
}

// denied handles a 403 for a token that Vault accepts. If the same login has
// recently read another name and still may, the 403 concerns this name: a negative
// answer. Otherwise it concerns the policy or the mount: a failure.
func (s *store) denied(ctx context.Context, name secretName, current *session, token tokenInfo) error {
	may := func(other string) (bool, error) { return s.mayRead(ctx, other, current) }
	switch others, err := current.recent.MayReadAnother(name.accessToken, may); {
	case err != nil:
		return err
	case others:
		return &secretstore.Absent{Reason: secretstore.ReasonDenied}
	}
	f := &secretstore.Failure{Op: "read " + name.shown, Reason: secretstore.Denied, OneName: true}
	f.Err = fmt.Errorf("status 403: the token%s lacks the capability read on it", describeToken(token))
	f.Remedy = "add to one of its policies: " + s.policy(name, current.kv)
	if remedy := s.settings.dataTwice(current.kv); remedy != "" {
		f.Err = fmt.Errorf("%w, and KV v2's data/ is in the path twice", f.Err)
		f.Remedy = remedy
		return f
	}
	info, a, err := s.conn.lookupMount(ctx, current.token)
	switch {
	case err != nil:
	case a.status == http.StatusForbidden:
		f.Err = fmt.Errorf("status 403: the token%s has no right at all below %s/, or nothing is mounted there", describeToken(token), s.settings.mount)
		f.Remedy = "compare mount and namespace with vault secrets list; if they are right, add to one of its policies: " + s.policy(name, current.kv)
		if s.settings.kv == "" && current.kv == kv1 { // Vault didn't say, so this is a guess
			f.Remedy += ", or for KV v2 set kv to v2 and add " + s.policy(name, kv2)
		}
	case a.status == http.StatusOK && info.Type != "kv" && info.Type != "generic":
		f.Err = fmt.Errorf("status 403, and the secrets engine at %s/ is not a KV engine but of type %.100q", s.settings.mount, info.Type)
		f.Remedy = "set mount to that of a KV engine: vault secrets list"
	case a.status == http.StatusOK && info.kv() != current.kv:
		f.Err = fmt.Errorf("status 403, and the secrets engine at %s/ is KV %s, read as %s", s.settings.mount, info.kv(), current.kv)
		f.Remedy = fmt.Sprintf("set kv to %s; the token needs the policy %s", info.kv(), s.policy(name, info.kv()))
	case a.status == http.StatusOK && info.Path != s.settings.mount+"/":
		f.Err = fmt.Errorf("status 403, and the secrets engine is mounted at %.100q, not at %s/", info.Path, s.settings.mount)
		f.Remedy = "set mount to that, and path to the rest"
	}
	return f
}

// mayRead reports whether the login may read a name. An error says why that can't
// be determined.
func (s *store) mayRead(ctx context.Context, accessToken string, current *session) (bool, error) {
	name := s.name(accessToken, current.kv)
	a, err := s.fetch(ctx, current.token, name)
	if err != nil {
		return false, readFailed("read "+name.shown, err)
	}
	if a.forbidden() {
		return false, nil
	}
	var f *secretstore.Failure
	if _, err := s.evaluate(a, name, current); errors.As(err, &f) {
		return false, f
	}
	return true, nil
}

// describeToken returns properties by which an operator recognizes a token.
func describeToken(t tokenInfo) string {
	var parts []string
	if p := t.policies(); len(p) > 0 {
		parts = append(parts, fmt.Sprintf("policies %.200s", strings.Join(p, ", ")))
	}
	if t.TTL > 0 {
		parts = append(parts, "expires in "+(time.Duration(t.TTL)*time.Second).String())
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}
