package recording

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
)

// Plugin is the name of the plugin that a Probe serves.
const Plugin = "probe"

// Call is one call to Kong's PDK during an event.
type Call struct {
	Method string `json:"method"`
	Arg    []byte `json:"arg,omitempty"` // protobuf
}

// script is what the plugin does with an event.
type script struct {
	calls []Call
	end   ending
}

// ending is how an event ends.
type ending int

// The ways in which an event ends.
const (
	proxied      ending = iota // the request is proxied
	exitResponse               // the last call answers the client: kong.response.exit
	hangup                     // the connection is closed instead of the first call
	wrongReturn                // proxied, but the RpcReturn has another sequence
)

// Probe is a plugin server that follows scripts and records what Kong does.
// It listens on a unix socket that no command starts: Kong needs only its
// query command.
type Probe struct {
	dir string

	mu        sync.Mutex
	listener  *net.UnixListener
	conns     map[net.Conn]bool
	instances map[int32]string // name in the configuration, by id
	script    script
	hangups   int      // how many more events end with hangup
	refuse    bool     // close the connection when an instance is to be started
	seen      []string // calls of Kong's
	replies   [][]byte // to the script's calls
	config    []byte   // of the last instance that was started
}

// NewProbe writes the plugin's description and listens in the folder dir,
// whose path must be short.
func NewProbe(dir string) (*Probe, error) {
	p := &Probe{dir: dir, conns: map[net.Conn]bool{}, instances: map[int32]string{}}
	dump := fmt.Sprintf(`{"Protocol":"ProtoBuf:1","SocketPath":%q,"Plugins":[{"Name":%q,"Phases":["access"],"Version":"1","Priority":900,
		"Schema":{"name":%q,"fields":[{"config":{"type":"record","fields":[{"name":{"type":"string"}}%s]}}]}}]}`, p.Socket(), Plugin, Plugin, referenceFields)
	if err := os.WriteFile(p.dump(), []byte(dump), 0o644); err != nil {
		return nil, err
	}
	return p, p.Listen()
}

// Socket is the path of the plugin server's socket.
func (p *Probe) Socket() string { return filepath.Join(p.dir, "probe.socket") }

// Query is the query command.
func (p *Probe) Query() string { return "/bin/cat " + p.dump() }

func (p *Probe) dump() string { return filepath.Join(p.dir, "probe.json") }

// Listen makes the plugin server accept connections.
func (p *Probe) Listen() error {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.Socket(), Net: "unix"})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.listener = l
	p.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns[c] = true
			p.mu.Unlock()
			go p.serve(c)
		}
	}()
	return nil
}

// Kill has the effects of a kill -9: nothing listens, every connection ends,
// and no instance is known any more.
func (p *Probe) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener.Close()
	for c := range p.conns {
		c.Close()
	}
	clear(p.instances)
}

// setScript sets the script of the events to come and clears what was seen.
func (p *Probe) setScript(s script) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script, p.seen, p.replies = s, nil, nil
	p.hangups = 0
	if s.end == hangup {
		p.hangups = 1
	}
}

// observed returns what was seen since setScript.
func (p *Probe) observed() (seen []string, replies [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen, p.replies
}

func (p *Probe) see(what string) { p.seen = append(p.seen, what) }

func (p *Probe) serve(nc net.Conn) {
	c := &wire{Conn: nc, r: bufio.NewReader(nc)}
	defer func() {
		nc.Close()
		p.mu.Lock()
		delete(p.conns, nc)
		p.mu.Unlock()
	}()
	for {
		frame, err := c.read()
		if err != nil {
			return
		}
		var call pb.RpcCall
		if err := proto.Unmarshal(frame, &call); err != nil {
			return
		}
		if err := p.answer(c, &call); err != nil {
			return
		}
	}
}

// errHangup ends a connection.
var errHangup = errors.New("hang up")

func (p *Probe) answer(c *wire, call *pb.RpcCall) error {
	ret := &pb.RpcReturn{Sequence: call.Sequence}
	switch call := call.Call.(type) {
	case *pb.RpcCall_CmdStartInstance:
		id, err := p.start(call.CmdStartInstance.Config)
		if err != nil {
			return err
		}
		ret.Return = &pb.RpcReturn_InstanceStatus{InstanceStatus: &pb.InstanceStatus{InstanceId: id}}
	case *pb.RpcCall_CmdCloseInstance:
		p.mu.Lock()
		p.see("close " + p.instances[call.CmdCloseInstance.InstanceId])
		p.mu.Unlock()
	case *pb.RpcCall_CmdHandleEvent:
		s, err := p.begin(call.CmdHandleEvent.InstanceId)
		if err != nil {
			return err
		}
		if err := p.event(c, s); err != nil {
			return err
		}
		if s.end == wrongReturn {
			ret.Sequence += 7
		}
	}
	b, err := proto.Marshal(ret)
	if err != nil {
		return err
	}
	return c.write(b)
}

func (p *Probe) start(config []byte) (int32, error) {
	var named struct{ Name string }
	if err := json.Unmarshal(config, &named); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.see("start " + named.Name)
	p.config = config
	if p.refuse {
		return 0, errHangup
	}
	id := 1 + rand.Int32N(1<<31-1)
	p.instances[id] = named.Name
	return id, nil
}

func (p *Probe) begin(id int32) (script, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	name, known := p.instances[id]
	if !known {
		p.see("event of an unknown instance")
		return script{}, errHangup
	}
	p.see("event " + name)
	if p.hangups > 0 {
		p.hangups--
		return script{}, errHangup
	}
	return p.script, nil
}

func (p *Probe) event(c *wire, s script) error {
	for i, call := range s.calls {
		if err := c.write([]byte(call.Method)); err != nil {
			return err
		}
		if err := c.write(call.Arg); err != nil {
			return err
		}
		if s.end == exitResponse && i == len(s.calls)-1 {
			return errHangup // as a plugin server has to after an exit
		}
		reply, err := c.read()
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.replies = append(p.replies, reply)
		p.mu.Unlock()
	}
	return c.write(nil)
}

// wire is a connection that carries frames.
type wire struct {
	net.Conn
	r *bufio.Reader
}

func (w *wire) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(w.r, head[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[:]))
	_, err := io.ReadFull(w.r, b)
	return b, err
}

func (w *wire) write(frame []byte) error {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(frame)))
	_, err := w.Write(append(b, frame...))
	return err
}
