package control

import (
	"fmt"
	"strings"
	"time"

	"kong-vault-auth/fleet"
)

// Reach says where a change is in force when the call has returned.
type Reach struct {
	Here    bool    `json:"here"`            // this node's plugin server has dropped what it knew
	Dropped int     `json:"dropped"`         // how many credentials that were
	Within  Seconds `json:"within_seconds"`  // until nodes that can't be told have noticed; 0: never, or unknown
	Block   bool    `json:"block,omitempty"` // it is a block, or the end of one

	Others  *fleet.Reach `json:"others,omitempty"`  // the other nodes; nil: they are not told
	Problem string       `json:"problem,omitempty"` // why they could not be told
}

// Seconds is a duration, as a number of seconds in JSON.
type Seconds float64

// Duration converts it.
func (s Seconds) Duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }

func seconds(d time.Duration) Seconds { return Seconds(d.Seconds()) }

// String says it in words to whoever has made the change.
func (r Reach) String() string {
	switch {
	case r.Here:
		return "in force on this node now; " + r.others()
	case r.Others != nil && r.Block:
		return "no plugin server was found on this node, it is in force when one starts; " + r.others()
	case r.Others != nil:
		return "no plugin server was found on this node; " + r.others()
	case r.Block:
		return "no plugin server was found on this node; it is in force when one starts, and on other nodes " + r.within()
	}
	return "no plugin server was found on this node (if one runs, set " + Variable + " to its control socket); all nodes notice within their vault object's max_ttl, or its revocation_interval if that is shorter"
}

// others says where it is in force besides this node.
func (r Reach) others() string {
	switch o := r.Others; {
	case o == nil:
		return "on other nodes " + r.within()
	case !o.Connected && !r.Here && r.Block:
		return "other nodes could not be told, run the command again" + r.because()
	case !o.Connected && !r.Here:
		return "other nodes could not be told: there " + r.within() + r.because()
	case !o.Connected && r.Block:
		return "this node isn't connected to the others: there when the connection is back"
	case !o.Connected:
		return "this node isn't connected to the others: there " + r.within()
	case len(o.Silent) == 0 && o.Applied == 0:
		return "no other node is known to be connected: there " + r.within()
	case len(o.Silent) == 0:
		return fmt.Sprintf("on %d other nodes now", o.Applied)
	default:
		return fmt.Sprintf("on %d other nodes now; %s did not answer within a second: there %s", o.Applied, strings.Join(o.Silent, ", "), r.within())
	}
}

func (r Reach) because() string {
	if r.Problem == "" {
		return ""
	}
	return " (" + r.Problem + ")"
}

func (r Reach) within() string {
	switch {
	case r.Block && r.Others != nil:
		return "as soon as they read the message"
	case r.Block:
		return "not until they are told: run the command there too"
	}
	return fmt.Sprintf("within %d seconds", int(r.Within))
}
