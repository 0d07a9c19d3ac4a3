package control

import (
	"testing"

	"kong-vault-auth/fleet"
)

func TestReachInWords(t *testing.T) {
	for _, tt := range []struct {
		reach Reach
		want  string
	}{
		{Reach{}, "no plugin server was found on this node (if one runs, set VAULT_AUTH_CONTROL to its control socket); all nodes notice within their vault object's max_ttl, or its revocation_interval if that is shorter"},
		{Reach{Here: true, Within: 60}, "in force on this node now; on other nodes within 60 seconds"},
		{Reach{Here: true, Within: 60, Others: &fleet.Reach{Connected: true, Applied: 2}}, "in force on this node now; on 2 other nodes now"},
		{Reach{Here: true, Within: 60, Others: &fleet.Reach{Connected: true, Applied: 1, Silent: []string{"a", "b"}}}, "in force on this node now; on 1 other nodes now; a, b did not answer within a second: there within 60 seconds"},
		{Reach{Here: true, Within: 60, Others: &fleet.Reach{}}, "in force on this node now; this node isn't connected to the others: there within 60 seconds"},
		{Reach{Block: true}, "no plugin server was found on this node; it is in force when one starts, and on other nodes not until they are told: run the command there too"},
		{Reach{Here: true, Within: 60, Others: &fleet.Reach{Connected: true}}, "in force on this node now; no other node is known to be connected: there within 60 seconds"},
		{Reach{Within: 60, Others: &fleet.Reach{Connected: true, Applied: 3}}, "no plugin server was found on this node; on 3 other nodes now"},
		{Reach{Within: 60, Others: &fleet.Reach{}, Problem: "refused"}, "no plugin server was found on this node; other nodes could not be told: there within 60 seconds (refused)"},
		{Reach{Block: true, Others: &fleet.Reach{Connected: true, Applied: 3}}, "no plugin server was found on this node, it is in force when one starts; on 3 other nodes now"},
		{Reach{Block: true, Others: &fleet.Reach{Connected: true}}, "no plugin server was found on this node, it is in force when one starts; no other node is known to be connected: there as soon as they read the message"},
		{Reach{Block: true, Others: &fleet.Reach{}}, "no plugin server was found on this node, it is in force when one starts; other nodes could not be told, run the command again"},
		{Reach{Here: true, Block: true}, "in force on this node now; on other nodes not until they are told: run the command there too"},
		{Reach{Here: true, Block: true, Others: &fleet.Reach{}}, "in force on this node now; this node isn't connected to the others: there when the connection is back"},
		{Reach{Here: true, Block: true, Others: &fleet.Reach{Connected: true, Silent: []string{"a"}}}, "in force on this node now; on 0 other nodes now; a did not answer within a second: there as soon as they read the message"},
	} {
		if got := tt.reach.String(); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.reach, got, tt.want)
		}
	}
}
