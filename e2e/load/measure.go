package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// turn is what one route did in one round.
type turn struct {
	perSecond       float64
	median, p99     time.Duration
	gateway, plugin time.Duration // processor time per request
}

// measure sends requests over several connections, each of which waits for the answer before
// the next request.
func (s *setup) measure(ctx context.Context, r route, connections int, length time.Duration) (turn, error) {
	request := s.request(r)
	gateway, plugin, err := s.processorTime(r)
	if err != nil {
		return turn{}, err
	}
	began := time.Now()
	end := began.Add(length)
	took := make([][]time.Duration, connections)
	errs := make([]error, connections)
	var clients sync.WaitGroup
	for i := range connections {
		clients.Go(func() { took[i], errs[i] = s.client(ctx, request, end) })
	}
	clients.Wait()
	if err := errors.Join(errs...); err != nil {
		return turn{}, err
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	seconds := time.Since(began).Seconds()
	gatewayAfter, pluginAfter, err := s.processorTime(r)
	if err != nil {
		return turn{}, err
	}
	n := time.Duration(len(all))
	return turn{
		perSecond: float64(n) / seconds, median: all[n/2], p99: all[n*99/100],
		gateway: (gatewayAfter - gateway) / n, plugin: (pluginAfter - plugin) / n,
	}, nil
}

// request is a typical request of a library or a browser, with nine headers more than HTTP
// needs.
func (s *setup) request(r route) []byte {
	path := "/r" + strconv.Itoa(slices.IndexFunc(s.routes, func(other route) bool { return other.name == r.name })) + "/orders?page=1"
	tokens := "access_token: " + accessToken + "\r\nsecret_token: " + secretToken + "\r\napikey: " + accessToken + "\r\n"
	if r.inQuery {
		path += "&access_token=" + accessToken + "&secret_token=" + secretToken
		tokens = ""
	}
	return []byte("GET " + path + " HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: okhttp/4.12.0\r\nAccept: */*\r\n" +
		"Accept-Encoding: gzip, deflate\r\nAccept-Language: en\r\nContent-Type: application/json\r\nX-Request-Id: 5f1c\r\n" + tokens + "\r\n")
}

func (s *setup) client(ctx context.Context, request []byte, end time.Time) (took []time.Duration, err error) {
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r := bufio.NewReader(c)
	for {
		began := time.Now()
		if began.After(end) {
			return took, nil
		}
		if _, err := c.Write(request); err != nil {
			return nil, err
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", resp.Status, body)
		}
		took = append(took, time.Since(began))
	}
}

// processorTime is what the gateway and the route's plugin server have used.
func (s *setup) processorTime(r route) (gateway, plugin time.Duration, err error) {
	for _, pid := range s.own {
		used, err := processorTime(pid)
		if err != nil {
			return 0, 0, err
		}
		gateway += used
	}
	if r.plugin != "" {
		plugin, err = processorTime(s.plugins[r.plugin])
	}
	return gateway, plugin, err
}

// processorTime reads utime and stime, which Linux counts in hundredths of a
// second for every program (USER_HZ).
func processorTime(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b), ") ") // behind the program's name
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %s", pid, b)
	}
	var ticks int
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// floorPlugin is the plugin that the others are compared with.
const floorPlugin = "nothing"

// print prints a line a route, compared with the plugin that does nothing.
func print(out io.Writer, routes []route, turns [][]turn) {
	floor := slices.IndexFunc(routes, func(r route) bool { return r.plugin == floorPlugin })
	of := func(i int, value func(turn) float64) float64 { return median(turns[i], value) }
	perSecond := func(t turn) float64 { return t.perSecond }
	total := func(t turn) float64 { return micros(t.gateway + t.plugin) }
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "requests/s\tof nothing\tmedian ms\tp99 ms\tgateway µs\tplugin µs\tboth µs\tof nothing\t  route")
	for i, r := range routes {
		if len(turns[i]) == 0 {
			continue
		}
		fmt.Fprintf(w, "%.0f\t%.2f\t%.2f\t%.2f\t%.0f\t%.0f\t%.0f\t%.2f\t  %s\n",
			of(i, perSecond), of(i, perSecond)/of(floor, perSecond),
			of(i, func(t turn) float64 { return micros(t.median) / 1000 }), of(i, func(t turn) float64 { return micros(t.p99) / 1000 }),
			of(i, func(t turn) float64 { return micros(t.gateway) }), of(i, func(t turn) float64 { return micros(t.plugin) }),
			of(i, total), of(i, total)/of(floor, total), r.name)
	}
	_ = w.Flush() // to standard output
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

func median(turns []turn, value func(turn) float64) float64 {
	sorted := slices.SortedFunc(slices.Values(turns), func(a, b turn) int { return cmp.Compare(value(a), value(b)) })
	return value(sorted[len(sorted)/2])
}
