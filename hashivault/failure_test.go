package hashivault

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
	"testing"
)

func TestTransportFailuresNameTheRemedy(t *testing.T) {
	dns := func(e net.DNSError) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: &e}
	}
	for name, tt := range map[string]struct {
		err            error
		reason, remedy string
	}{
		"an unknown name":         {dns(net.DNSError{Err: "no such host", IsNotFound: true}), "network", "check host: its name can't be resolved here"},
		"a silent name server":    {dns(net.DNSError{Err: "i/o timeout", IsTimeout: true}), "network", "check this machine's name servers"},
		"a silent server":         {context.DeadlineExceeded, "timeout", "check that Vault can be reached"},
		"nobody listens":          {&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, "network", "check host and port"},
		"the lookup is given up":  {context.Canceled, "canceled", ""},
		"a resolver is given up":  {fmt.Errorf("lookup vault: %w", context.Canceled), "canceled", ""},
		"something else entirely": {syscall.EHOSTUNREACH, "network", ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := transportFailure("read secret/kong-auth/0123456789ab", &url.Error{Op: "Get", URL: "http://vault/v1/secret/data/kong-auth/t0ken", Err: tt.err})
			if f.Reason != tt.reason || !strings.HasPrefix(f.Remedy, tt.remedy) || (f.Remedy == "") != (tt.remedy == "") || strings.Contains(f.Error(), "t0ken") {
				t.Errorf("reason %q, remedy %q: %v", f.Reason, f.Remedy, f)
			}
		})
	}
}
