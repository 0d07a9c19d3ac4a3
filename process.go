package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// keepSecret protects the process's memory, and the environment that it was started with, from
// core dumps and from other processes of its user: the process is not dumpable, and only root
// may read the protected parts of its /proc.
func keepSecret() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }

// scheduling is what the setting of that name does to this process.
func scheduling(setting string) (func() error, error) {
	switch setting {
	case "", "batch":
		return letKongRun, nil
	case "normal":
		return func() error { return nil }, nil
	}
	return nil, fmt.Errorf("it must be batch or normal, not %.40q", setting)
}

// letKongRun makes the kernel schedule every thread of this process as a batch task
// (SCHED_BATCH), unless another policy has been chosen for it. On a machine without an idle
// core, a thread that is woken takes the core from the thread that woke it: here Kong, in the
// middle of sending a frame that isn't complete yet. A batch task waits until Kong does. With
// an idle core nothing changes.
func letKongRun() error {
	for changed := true; changed; { // a thread that wasn't changed yet may have started others
		changed = false
		threads, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, thread := range threads {
			id, err := strconv.Atoi(thread.Name())
			if err != nil {
				return err
			}
			attr, err := unix.SchedGetAttr(id, 0)
			if errors.Is(err, unix.ESRCH) {
				continue // it has ended
			}
			if err != nil {
				return err
			}
			if attr.Policy != unix.SCHED_NORMAL {
				continue
			}
			attr.Policy = unix.SCHED_BATCH
			if err := unix.SchedSetAttr(id, attr, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
			changed = true
		}
	}
	return nil
}

// keptVariables are those that are read while the process runs: by Go's runtime
// and library, by Azure's and Google's, and by az and its like, which azidentity may start.
var keptVariables = []string{
	"GODEBUG", "GOTRACEBACK", "GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GORACE", "GOCOVERDIR",
	"PATH", "HOME", "USER", "LOGNAME", "PWD", "TMPDIR", "TZ", "LANG", "LC_ALL", "LC_CTYPE",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "RES_OPTIONS", "LOCALDOMAIN",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "REQUEST_METHOD",

	"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST",
	"AZURE_REGIONAL_AUTHORITY_NAME", "AZURE_ADDITIONALLY_ALLOWED_TENANTS", "AZURE_TOKEN_CREDENTIALS",
	"AZURE_KUBERNETES_TOKEN_PROXY", "AZURE_KUBERNETES_SNI_NAME", "AZURE_KUBERNETES_CA_FILE", "AZURE_KUBERNETES_CA_DATA",
	"AZURE_POD_IDENTITY_AUTHORITY_HOST", "AZURE_CONFIG_DIR", "MSAL_FORCE_REGION", "REGION_NAME",

	// Two are secrets: azidentity reads IDENTITY_HEADER and MSI_SECRET at each login.
	"IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT",
	"MSI_ENDPOINT", "MSI_SECRET", "DEFAULT_IDENTITY_CLIENT_ID",

	"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "GCE_METADATA_HOST",
}

// kept reports whether a variable stays in the environment. The AWS SDK reads dozens of
// variables at each login, and only for objects that log in as the node.
func kept(name string) bool {
	return slices.Contains(keptVariables, name) || strings.HasPrefix(name, "AWS_")
}

// takeEnv returns a look-up in the current environment, and removes everything from it that no
// library reads later. The environment is for vault objects of the node, and not for libraries
// that would use it for every object, or for programs that this one starts. Secrets in it can
// have any name.
func takeEnv() func(string) string {
	env := map[string]string{}
	for _, line := range os.Environ() {
		name, value, _ := strings.Cut(line, "=")
		env[name] = value
		if !kept(name) {
			os.Unsetenv(name)
		}
	}
	return func(name string) string { return env[name] }
}
