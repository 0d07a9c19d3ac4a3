package azurevault

import (
	"net/http"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// attempt is what the last request of a login met. azidentity's errors hold
// that as text only, and have no cause to ask.
type attempt struct {
	mu     sync.Mutex
	host   string
	answer *answer // nil: there was none
	err    error   // why there was none
}

// attemptKey is the context key of a login's *attempt.
type attemptKey struct{}

// last is the host that was asked last, and its answer.
func (a *attempt) last() (host string, answered *answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.host, a.answer
}

func (a *attempt) set(host string, answered *answer, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.host, a.answer, a.err = host, answered, err
}

// answer is what of an HTTP response a failure is made of.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// witness is a pipeline policy that keeps what a login meets in the attempt of
// its context.
type witness struct{}

func (witness) Do(req *policy.Request) (*http.Response, error) {
	a, isLogin := req.Raw().Context().Value(attemptKey{}).(*attempt)
	if !isLogin {
		return req.Next()
	}
	host := req.Raw().URL.Hostname()
	a.set(host, nil, nil)
	resp, err := req.Next()
	if err != nil {
		a.set(host, nil, err)
		return resp, err
	}
	var body []byte
	if resp.StatusCode >= 400 { // others hold a token
		body, _ = runtime.Payload(resp) // the SDK has read it already, and will again
	}
	a.set(host, &answer{resp.StatusCode, resp.Header, body}, nil)
	return resp, nil
}
