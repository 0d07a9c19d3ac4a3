package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"kong-vault-auth/e2e/closing"
	"kong-vault-auth/e2e/echo"
	"kong-vault-auth/e2e/example"
	"kong-vault-auth/kongtest/gateway"
)

// env is everything that the demo runs.
type env struct {
	out     io.Writer
	store   store
	gateway string // URL
	closers closing.Stack
}

// setUp starts everything, with a kind of store and the project's own kong.yml.
func setUp(ctx context.Context, out io.Writer, plugin, kind string) (_ *env, err error) {
	s := &env{out: out}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	s.store, err = openStore(ctx, kind, s.say)
	if err != nil {
		return nil, err
	}
	s.closers.Add(s.store.Close)
	upstream, err := listen(8080)
	if err != nil {
		return nil, err
	}
	web := &http.Server{Handler: echo.Handler(nil), ReadHeaderTimeout: 10 * time.Second}
	go web.Serve(upstream)
	s.closers.Add(web.Close)

	config, err := s.store.kongYML("http://" + upstream.Addr().String())
	if err != nil {
		return nil, err
	}
	if err := s.openGateway(ctx, config, plugin); err != nil {
		return nil, err
	}
	w := s.store.words()
	s.say(overview, w.label, w.at, w.secret, example.Consumer, upstream.Addr(), s.gateway, w.but)
	return s, nil
}

const overview = `
%-9[1]s %[2]s   holds %[3]s, a token pair of the consumer %[4]s
Upstream  http://%[5]s    answers with what it receives
Gateway   %[6]s    runs bin/vault-auth as kong.yml says%[7]s`

// stop ends everything, in the opposite order.
func (s *env) stop() error { return s.closers.Close() }

func (s *env) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// listen listens on loopback at the preferred port, or at a free one.
func listen(preferred int) (net.Listener, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", preferred))
	if err != nil {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return l, nil
}

// openGateway starts the gateway and awaits it.
func (s *env) openGateway(ctx context.Context, config, plugin string) error {
	l, err := listen(8000)
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	env, mainEnv := s.store.environ()
	g, err := gateway.Run(ctx, gateway.Options{
		Config: config, Plugins: []string{plugin}, Listen: addr,
		Env: append(os.Environ(), env...), MainEnv: mainEnv,
	})
	if err != nil {
		return err
	}
	s.gateway = g.URL()
	s.closers.Add(func() error {
		g.Close()
		return nil
	})
	return nil
}
