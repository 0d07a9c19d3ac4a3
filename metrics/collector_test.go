package metrics

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"kong-vault-auth/cache"
	"kong-vault-auth/fleet"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/vault"
	"kong-vault-auth/vaultauth"
)

// source is a process with two vault objects, of which one has just been
// opened. Every number in it is another one.
func source() Source {
	busy := vault.Stats{
		Object: "kong-auth", Store: 1,
		Cache: cache.Stats{
			Entries: 101, Absent: 102, Refused: 103, InFlight: 104, Waiting: 105, InDoubt: 106, Failing: true, LastAnswer: time.UnixMilli(1_800_000_000_500),
			Hits: 111, Loads: 112, Resurrected: 113, Absences: 114, Refusals: 115, Limited: 116, Unavailable: 117, Errors: 118,
			Refresh: 121, Expired: 122, Reread: 123, NeverSeen: 124,
			Found: 131, NotFound: 132, Failed: 133, Panicked: 134,
			Superseded: 141, Dropped: 142, Changed: 145, Evicted: 143, Held: 144,
		},
		MaxCredentials: 150,
		HeldUntil:      time.Unix(1_800_003_600, 0),
		Snapshot:       time.Unix(1_800_000_002, 0),
		Reads:          vault.ReadTimes{Buckets: [10]uint64{1, 2, 0, 0, 0, 0, 0, 0, 3, 4}, Sum: 12500 * time.Millisecond},
		Revocation: vault.RevocationStats{
			Interval: 2 * time.Second, Effective: 20 * time.Second, Pages: 200, Last: time.Unix(1_800_000_001, 0),
			Listed: 161, Failed: 162, Dropped: 163,
		},
	}
	return Source{
		Version: "1.2.3",
		Plugin: func() vaultauth.Stats {
			return vaultauth.Stats{
				Requests:  []pluginserver.Answered{{Answer: "401", Reason: "not_found", Count: 1}, {Answer: "503", Reason: "sealed", Count: 2}, {Answer: "ok", Count: 3}},
				Consumers: 4, MaxConsumers: 5,
			}
		},
		Secrets: func() []pluginserver.Answered {
			return []pluginserver.Answered{{Answer: "503", Reason: "deleted", Count: 14}, {Answer: "ok", Count: 15}}
		},
		Objects: func() []vault.Stats { return []vault.Stats{{Object: "idle", Store: 2}, busy} },
		LeftOut: func() uint64 { return 6 },
		Events: func() fleet.Stats {
			return fleet.Stats{Connected: true, Failures: 7, Sent: 8, Applied: 9, Replayed: 10, Stale: 11, Forged: 12, Verified: 13}
		},
	}
}

func TestEveryMetricOfAKnownState(t *testing.T) {
	want, err := os.Open("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	if err := testutil.CollectAndCompare(NewCollector(source()), want); err != nil {
		t.Error(err)
	}
}

func TestMetricsAreNamedAsPrometheusWants(t *testing.T) {
	problems, err := testutil.CollectAndLint(NewCollector(source()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A plugin server must not die of a name that Prometheus can't take.
func TestNameThatIsNotUTF8(t *testing.T) {
	s := source()
	s.Objects = func() []vault.Stats { return []vault.Stats{{Object: "caf\xe9"}} }
	if n := testutil.CollectAndCount(NewCollector(s), "vault_auth_store_failing"); n != 1 {
		t.Errorf("%d series", n)
	}
}

func TestTheTableHasEveryMetric(t *testing.T) {
	families, err := func() ([]string, error) {
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(NewCollector(source()))
		fs, err := r.Gather()
		var names []string
		for _, f := range fs {
			names = append(names, f.GetName())
		}
		return names, err
	}()
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Count(Table(), "\n") - 2
	if rows != len(families) {
		t.Errorf("%d rows for %d metrics", rows, len(families))
	}
	for _, name := range families {
		if !strings.Contains(Table(), "| `"+name+"` |") {
			t.Errorf("%s is not in the table", name)
		}
	}
}
