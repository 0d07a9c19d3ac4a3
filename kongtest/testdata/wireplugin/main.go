// Command wireplugin speaks the protocol by hand, and misbehaves as its configuration's mode
// says, or for one request the header X-Mode.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

func main() {
	prefix := flag.String("kong-prefix", "", "folder of the socket")
	dump := flag.Bool("dump", false, "describe the plugin")
	flag.Parse()
	name := filepath.Base(os.Args[0])
	socket := filepath.Join(*prefix, name+".socket")
	if *dump {
		schema := `{"name":"` + name + `","fields":[{"config":{"type":"record","fields":[{"mode":{"type":"string"}}]}}]}`
		fmt.Printf(`{"Protocol":"ProtoBuf:1","SocketPath":%q,"Plugins":[{"Name":%q,"Phases":["access"],"Version":"1","Priority":900,"Schema":%s}]}`+"\n", socket, name, schema)
		return
	}
	log.Printf("environment %q", os.Environ())
	temporary := fmt.Sprintf("%s.%d", socket, os.Getpid())
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary})
	if err != nil {
		log.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Rename(temporary, socket); err != nil {
		log.Fatal(err)
	}
	signal.Ignore(syscall.SIGPIPE) // of standard error, once Kong's worker has crashed
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	go func() {
		<-terminated
		l.Close()
	}()
	var serving sync.WaitGroup
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			break
		}
		k := &conn{UnixConn: c, r: bufio.NewReader(c), w: bufio.NewWriter(c)}
		mu.Lock()
		conns = append(conns, k)
		mu.Unlock()
		serving.Go(k.serve)
	}
	// A connection is first closed for writing only: Kong then sees "closed"
	// and runs the event elsewhere; a reset would be a 500.
	mu.Lock()
	for _, k := range conns {
		if quitting = true; !k.busy {
			k.CloseWrite()
		}
	}
	mu.Unlock()
	time.AfterFunc(time.Second, func() { os.Exit(0) })
	serving.Wait()
}

type conn struct {
	*net.UnixConn
	r    *bufio.Reader
	w    *bufio.Writer
	busy bool // in an event
}

var (
	mu        sync.Mutex
	instances = map[int32]string{}
	conns     []*conn
	quitting  bool
)

func (c *conn) serve() {
	defer c.Close()
	for {
		var m pb.RpcCall
		if proto.Unmarshal(c.frame(), &m) != nil || m.Call == nil {
			return
		}
		ret := &pb.RpcReturn{Sequence: m.Sequence}
		mu.Lock()
		switch call := m.Call.(type) {
		case *pb.RpcCall_CmdStartInstance:
			var config struct{ Mode string }
			json.Unmarshal(call.CmdStartInstance.Config, &config)
			log.Printf("start %s", call.CmdStartInstance.Config)
			id := rand.Int32()
			instances[id] = config.Mode
			ret.Return = &pb.RpcReturn_InstanceStatus{InstanceStatus: &pb.InstanceStatus{InstanceId: id}}
		case *pb.RpcCall_CmdCloseInstance:
			log.Printf("close %s", instances[call.CmdCloseInstance.InstanceId])
			delete(instances, call.CmdCloseInstance.InstanceId)
		case *pb.RpcCall_CmdHandleEvent:
			mode, ok := instances[call.CmdHandleEvent.InstanceId]
			c.busy = true
			mu.Unlock()
			if !ok || !c.event(mode, ret) {
				return
			}
			mu.Lock()
			c.busy = false
		}
		c.send(nil, ret)
		c.w.Flush()
		if quitting {
			c.CloseWrite()
		}
		mu.Unlock()
	}
}

// event reports whether the connection survives it.
func (c *conn) event(mode string, ret *pb.RpcReturn) bool {
	var asked pb.String
	proto.Unmarshal(c.ask("kong.request.get_header", &pb.String{V: "x-mode"}), &asked)
	if asked.V != "" {
		mode = asked.V
	}
	switch mode {
	case "pipeline":
		c.call("kong.client.authenticate", &pb.AuthenticateArgs{Consumer: &pb.Consumer{Id: "1", Username: "anna"}})
		c.call("kong.service.request.set_header", &pb.KV{K: "X-Piped", V: structpb.NewStringValue("yes")})
		c.call("kong.log.set_serialize_value", &pb.KV{K: "request.uri", V: structpb.NewStringValue("/hidden")})
		c.write(nil)
		c.send(nil, ret)
		c.w.Flush()
		for range 3 {
			c.frame()
		}
		return c.serveNext()
	case "close":
		return false
	case "close-once":
		mu.Lock()
		defer mu.Unlock()
		if closedOnce = !closedOnce; closedOnce {
			return false
		}
	case "unknown-method":
		c.ask("kong.plugin.explode", &pb.String{})
	case "bad-argument":
		c.write([]byte("kong.client.load_consumer"))
		c.write([]byte{0xff})
		c.w.Flush()
		c.frame()
	case "raise":
		c.ask("kong.client.load_consumer", &pb.ConsumerSpec{Id: "anna"})
	case "garbage":
		c.Write([]byte{4, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0})
		io.Copy(io.Discard, c)
		return false
	case "exit":
		c.exit()
		return false
	case "log-and-exit":
		c.call("kong.log.err", &structpb.ListValue{Values: []*structpb.Value{structpb.NewStringValue("refused")}})
		c.exit()
		return false
	case "silent":
		log.Print("is silent")
		io.Copy(io.Discard, c)
		return false
	case "wrong-sequence":
		ret.Sequence += 7
	case "body":
		var body pb.RawBodyResult
		proto.Unmarshal(c.ask("kong.request.get_raw_body", nil), &body)
		content := body.GetContent()
		if path := body.GetBodyFilepath(); path != "" {
			content, _ = os.ReadFile(path)
		}
		c.ask("kong.service.request.set_raw_body", &pb.ByteString{V: bytes.ToUpper(content)})
	}
	c.write(nil)
	return true
}

var closedOnce bool

// serveNext ends an event whose return is already written.
func (c *conn) serveNext() bool {
	c.serve()
	return false
}

func (c *conn) exit() {
	h, _ := structpb.NewStruct(map[string]any{"X-From": "plugin"})
	c.call("kong.response.exit", &pb.ExitArgs{Status: 403, Body: []byte("no"), Headers: h})
	c.w.Flush()
	c.Close()
}

func (c *conn) ask(method string, arg proto.Message) []byte {
	c.call(method, arg)
	c.w.Flush()
	return c.frame()
}

func (c *conn) call(method string, arg proto.Message) { c.send([]byte(method), arg) }

// send writes a name frame, if there is one, and a message's.
func (c *conn) send(name []byte, m proto.Message) {
	if name != nil {
		c.write(name)
	}
	var b []byte
	if m != nil {
		b, _ = proto.Marshal(m)
	}
	c.write(b)
}

func (c *conn) write(b []byte) {
	var head [4]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(b)))
	c.w.Write(head[:])
	c.w.Write(b)
}

func (c *conn) frame() []byte {
	var head [4]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return nil
	}
	b := make([]byte, binary.LittleEndian.Uint32(head[:]))
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil
	}
	return b
}
