package main

import (
	"testing"
	"time"
)

// at is a time in the tests' phase, in milliseconds: Vault fails from 1000 (for everybody from
// 1010) to 3000, and answers at 4000.
func at(ms int) time.Time { return time.UnixMilli(int64(ms)) }

func span(began, ended int) change { return change{at(began), at(ended)} }

func TestWrongAnswers(t *testing.T) {
	const alice = "alice"
	pair := func(k kind, generation int) claim {
		return claim{kind: k, access: k.String(), consumer: alice, generation: generation}
	}
	outage := timeline{fails: true, fault: span(1000, 1010), cleared: at(3000), healthy: at(4000), shown: at(4000)}
	with := func(change func(*timeline)) timeline {
		t := outage
		change(&t)
		return t
	}
	rotatedAt := func(k kind, spans ...change) timeline {
		return timeline{rotations: map[string][]change{k.String(): spans}}
	}
	deletedAt := func(t timeline, d change) timeline {
		t.deletions = map[string]change{deleted.String(): d}
		return t
	}
	listed := func(change func(*timeline)) timeline {
		t := timeline{ttl: time.Hour, revokes: true}
		change(&t)
		return t
	}
	unlistable := func(t *timeline) {
		t.unlistable, t.fault, t.cleared, t.shown = true, outage.fault, outage.cleared, outage.shown
	}
	answer := func(c claim, began, ended, status int) sent {
		return sent{c, at(began), at(ended), status, alice}
	}
	tests := []struct {
		name     string
		timeline timeline
		before   []sent // right ones
		sent     sent
		want     verdict
	}{
		{"known, while the store fails", outage, nil, answer(pair(known, 0), 2000, 2001, 200), right},
		{"known, refused while the store fails", outage, nil, answer(pair(known, 0), 2000, 2001, 503), refused},
		{"known, as somebody else", outage, nil, sent{pair(known, 0), at(2000), at(2001), 200, "bob"}, accepted},
		{"known, without a plugin server", timeline{killed: at(1000)}, nil, answer(pair(known, 0), 1500, 1501, 500), right},
		{"known, without a plugin server for too long", timeline{killed: at(1000)}, nil, answer(pair(known, 0), 4001, 4002, 500), refused},

		{"malformed", timeline{}, nil, answer(pair(malformed, 0), 10, 11, 401), right},
		{"malformed, looked up", outage, nil, answer(pair(malformed, 0), 2000, 2001, 503), refused},
		{"blocked", timeline{}, nil, answer(pair(blocked, 0), 10, 11, 503), right},
		{"blocked, taken for a no", timeline{}, nil, answer(pair(blocked, 0), 10, 11, 401), refused},

		{"unread, while the store fails", outage, nil, answer(pair(unread, 0), 2000, 2001, 503), right},
		{"unread, denied while the store fails", outage, nil, answer(pair(unread, 0), 2000, 2001, 401), refused},
		{"unread, accepted while the store fails", outage, nil, answer(pair(unread, 0), 2000, 2001, 200), accepted},
		{"unread, as the store begins to fail", outage, nil, answer(pair(unread, 0), 999, 1200, 200), right},
		{"unread, afterwards", outage, nil, answer(pair(unread, 0), 5001, 5002, 503), refused},
		{"unread, once it was read", outage, []sent{answer(pair(unread, 0), 900, 910, 200)}, answer(pair(unread, 0), 2000, 2001, 503), refused},
		{"unread, read before the plugin server was killed", with(func(t *timeline) { t.killed = at(1500) }),
			[]sent{answer(pair(unread, 0), 900, 910, 200)}, answer(pair(unread, 0), 2000, 2001, 503), right},
		{"known, with the store failing, after the plugin server was killed", with(func(t *timeline) { t.killed = at(1500) }),
			nil, answer(pair(known, 0), 2000, 2001, 503), refused},
		{"unread, in a flood", timeline{flooded: true}, nil, answer(pair(unread, 0), 1, 2, 429), refused},

		{"unknown", timeline{}, nil, answer(pair(unknown, 0), 1, 2, 401), right},
		{"unknown, accepted", timeline{}, nil, answer(pair(unknown, 0), 1, 2, 200), accepted},
		{"unknown, denied while the store fails", outage, nil, answer(pair(unknown, 0), 2000, 2001, 401), refused},
		{"unknown, limited without a flood", timeline{}, nil, answer(pair(unknown, 0), 1, 2, 429), refused},
		{"unknown, limited", timeline{flooded: true}, nil, answer(pair(unknown, 0), 1, 2, 429), right},

		{"wrong secret", timeline{}, nil, answer(pair(wrong, 0), 1, 2, 401), right},
		{"wrong secret, while the store fails", outage, nil, answer(pair(wrong, 0), 2000, 2001, 503), right},
		{"wrong secret, accepted while the store fails", outage, nil, answer(pair(wrong, 0), 2000, 2001, 200), accepted},

		{"rotated, the new secret", rotatedAt(rotated, span(10, 20)), nil, answer(pair(rotated, 1), 21, 22, 200), right},
		{"rotated, the new secret refused", rotatedAt(rotated, span(10, 20)), nil, answer(pair(rotated, 1), 21, 22, 401), refused},
		{"rotated, the old secret, nobody has used the new one", rotatedAt(rotated, span(10, 20)), nil, answer(pair(rotated, 0), 21, 22, 200), right},
		{"rotated, the old secret, the new one was used", rotatedAt(rotated, span(10, 20)),
			[]sent{answer(pair(rotated, 1), 21, 22, 200)}, answer(pair(rotated, 0), 23, 24, 200), accepted},
		{"rotated, the old secret, after its ttl", rotatedAt(rotated, span(10, 20)), nil, answer(pair(rotated, 0), 2021, 2022, 200), accepted},
		{"rotated, the old secret, refused", rotatedAt(rotated, span(10, 20)), nil, answer(pair(rotated, 0), 21, 22, 401), right},
		{"rotated, the old secret, refused before", rotatedAt(rotated, span(10, 20)), nil, answer(pair(rotated, 0), 1, 2, 401), refused},
		{"rotated while the store fails, the new secret", with(func(t *timeline) {
			t.rotations = map[string][]change{rotated.String(): {span(2000, 2010)}}
		}), nil, answer(pair(rotated, 1), 2100, 2101, 503), right},

		{"grace, the old secret", rotatedAt(graced, span(10, 20)),
			[]sent{answer(pair(graced, 1), 21, 22, 200)}, answer(pair(graced, 0), 23, 24, 200), right},
		{"grace, the old secret refused", rotatedAt(graced, span(10, 20)), nil, answer(pair(graced, 0), 23, 24, 401), refused},
		{"grace, the last but one", rotatedAt(graced, span(10, 20), span(30, 40)),
			[]sent{answer(pair(graced, 2), 41, 42, 200)}, answer(pair(graced, 0), 43, 44, 200), accepted},

		{"deleted, before", deletedAt(timeline{}, span(10, 20)), nil, answer(pair(deleted, 0), 1, 2, 401), refused},
		{"deleted, within its ttl", deletedAt(timeline{}, span(10, 20)), nil, answer(pair(deleted, 0), 500, 501, 200), right},
		{"deleted, past its ttl", deletedAt(timeline{}, span(10, 20)), nil, answer(pair(deleted, 0), 2021, 2022, 200), accepted},
		{"deleted, back again", deletedAt(timeline{}, span(10, 20)),
			[]sent{answer(pair(deleted, 0), 30, 31, 401)}, answer(pair(deleted, 0), 32, 33, 200), accepted},
		{"deleted while the store fails", deletedAt(outage, span(1500, 1510)), nil, answer(pair(deleted, 0), 2900, 2901, 200), right},
		{"deleted while the store failed, after its first answer", deletedAt(outage, span(1500, 1510)), nil, answer(pair(deleted, 0), 5001, 5002, 200), accepted},

		{"deleted, back again with another plugin server", deletedAt(with(func(t *timeline) { t.killed = at(1500) }), span(10, 20)),
			[]sent{answer(pair(deleted, 0), 30, 31, 401)}, answer(pair(deleted, 0), 2000, 2001, 200), accepted},

		{"deleted earlier, while the store fails", outage, nil, answer(pair(gone, 0), 2000, 2001, 503), right},
		{"deleted earlier, accepted while the store fails", outage, nil, answer(pair(gone, 0), 2000, 2001, 200), accepted},

		{"deleted, before a listing", deletedAt(listed(func(*timeline) {}), span(10, 20)), nil, answer(pair(deleted, 0), 3020, 3021, 200), right},
		{"deleted, after a listing", deletedAt(listed(func(*timeline) {}), span(10, 20)), nil, answer(pair(deleted, 0), 3021, 3022, 200), accepted},
		{"deleted while the listing is down", deletedAt(listed(unlistable), span(1500, 1510)), nil, answer(pair(deleted, 0), 7000, 7001, 200), right},
		{"deleted while the listing was down, after the first", deletedAt(listed(unlistable), span(1500, 1510)), nil, answer(pair(deleted, 0), 7001, 7002, 200), accepted},
		{"deleted just before the listing is down", deletedAt(listed(unlistable), span(10, 20)), nil, answer(pair(deleted, 0), 3500, 3501, 200), right},
		{"deleted long before the listing is down", deletedAt(listed(func(t *timeline) {
			unlistable(t)
			t.fault, t.shown = span(5000, 5010), at(9000)
		}), span(10, 20)), nil, answer(pair(deleted, 0), 3500, 3501, 200), accepted},
		{"deleted while the store fails, with listings", deletedAt(listed(func(t *timeline) {
			unlistable(t)
			t.fails, t.unlistable = true, false
		}), span(1500, 1510)), nil, answer(pair(deleted, 0), 7001, 7002, 200), accepted},

		{"deleted while the store fails, listed before a lookup is answered", deletedAt(listed(func(t *timeline) {
			unlistable(t)
			t.fails, t.unlistable, t.healthy, t.shown = true, false, at(4000), at(3100)
		}), span(1500, 1510)), nil, answer(pair(deleted, 0), 3500, 3501, 503), right},

		{"name that doesn't resolve", timeline{}, nil, answer(pair(nowhere, 0), 1, 2, 401), refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.timeline.ttl == 0 {
				tt.timeline.ttl = time.Second
			}
			j := newJudge(tt.timeline)
			for _, s := range tt.before {
				if got := j.judge(&s); got != right {
					t.Fatalf("before: %d", got)
				}
			}
			if got := j.judge(&tt.sent); got != tt.want {
				t.Errorf("verdict %d, want %d", got, tt.want)
			}
		})
	}
}
