package pluginserver

// Verdict is how an event ends. Its zero value means that there is no verdict, which is
// answered like any other fault in a plugin: status 500, not proxied.
type Verdict struct {
	kind    verdictKind
	status  int
	message string
	header  Header
	calls   bool // what is queued is done before the answer

	answer, reason string // for counting
}

type verdictKind uint8

const (
	verdictNone verdictKind = iota
	verdictPass
	verdictExit
)

// Header holds fields of a response.
type Header map[string]string

// Pass lets the request go on to the next plugin and to the upstream. Calls
// that are still queued go with it.
func Pass() Verdict { return PassAs(AnswerOK) }

// PassAs is a Pass that is counted as another answer.
func PassAs(answer string) Verdict { return Verdict{kind: verdictPass, answer: answer} }

// Exit answers the client itself, as Kong's kong.response.error does: a JSON
// body with message and request_id, or for gRPC the plain message. Calls that
// are still queued are dropped, unless the verdict is WithCalls.
func Exit(status int, message string, header Header) Verdict {
	return Verdict{kind: verdictExit, status: status, message: message, header: header}
}

// WithCalls is a verdict before which Kong carries out the calls that are still
// queued.
func (v Verdict) WithCalls() Verdict {
	v.calls = true
	return v
}

// Because is the verdict with a reason, a short word for counting.
func (v Verdict) Because(reason string) Verdict {
	v.reason = reason
	return v
}

// unexpectedError is what Kong itself says for a fault of its own.
const unexpectedError = "An unexpected error occurred"

const faultStatus = 500

// Fault is the answer to whatever should not have happened. The details go to the log,
// not to the client.
func Fault() Verdict { return Exit(faultStatus, unexpectedError, nil).Because(ReasonUnexpected) }
