package azurevault

import (
	"net/http"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// attempt is the last request of a login and its answer. azidentity's errors contain
// them only as text, and don't wrap the cause.
type attempt struct {
	mu     sync.Mutex
	host   string
	answer *answer // nil if there was none
	err    error   // why there was none
}

// attemptKey is the context key of a login's *attempt.
type attemptKey struct{}

// last is the host of the last request, and its answer.
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

// answer is the part of an HTTP response that a failure needs.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// attemptRecorder is a pipeline policy that records a login's requests and answers in
// the attempt of its context.
type attemptRecorder struct{}

func (attemptRecorder) Do(req *policy.Request) (*http.Response, error) {
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
	if resp.StatusCode >= 400 { // the others contain a token
		body, _ = runtime.Payload(resp) // which the SDK has buffered
	}
	a.set(host, &answer{resp.StatusCode, resp.Header, body}, nil)
	return resp, nil
}
