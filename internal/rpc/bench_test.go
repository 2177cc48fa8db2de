package rpc

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Sizes are those of a metadata query, of a piece that is read of a shard, and of a shard that is written.
func BenchmarkCall(b *testing.B) {
	for _, tc := range []struct {
		name         string
		body, answer int
	}{
		{"100B", 100, 100},
		{"read32KiB", 0, 32 << 10},
		{"write128KiB", 128 << 10, 0},
	} {
		for name, change := range map[string]func(*Config){"plain": nil, "TLS": encrypted} {
			for _, callers := range []int{1, 16} {
				b.Run(fmt.Sprintf("%s/%s/%d", tc.name, name, callers), func(b *testing.B) {
					benchmarkCall(b, change, callers, tc.body, tc.answer)
				})
			}
		}
	}
}

func benchmarkCall(b *testing.B, change func(*Config), callers, body, answer int) {
	s := newSecret(b)
	serverConfig, clientConfig := config(s, "server", Storage), config(s, "client", Gateway)
	if change != nil {
		change(&serverConfig)
		change(&clientConfig)
	}
	srv, err := NewServer(serverConfig)
	if err != nil {
		b.Fatal(err)
	}
	srv.Handle(methodEcho, Gateway, exchangeHandler(body, answer))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	serve(b, srv, l)
	c := startClient(b, clientConfig)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	addr := l.Addr().String()
	b.SetBytes(int64(body + answer))
	b.ReportAllocs()
	var left atomic.Int64
	left.Store(int64(b.N))
	done := make(chan error, callers)
	b.ResetTimer()
	start := cpuTime()
	defer func() { b.ReportMetric(float64((cpuTime()-start).Microseconds())/float64(b.N), "cpu-us/op") }()
	for range callers {
		go func() {
			call := &Call{Method: methodEcho, Head: make([]byte, 40), Body: make([]byte, body), Into: make([]byte, answer)}
			for left.Add(-1) >= 0 {
				if _, err := c.Do(ctx, addr, call); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// cpuTime of the process, both ends of the calls: the time on the clock depends on what else runs.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// exchangeHandler reads into a buffer that is its own as long as it has it, as a drive does.
func exchangeHandler(body, answer int) Handler {
	free := make(chan []byte, 64)
	out := make([]byte, answer)
	return func(_ context.Context, r *Request) error {
		var p []byte
		select {
		case p = <-free:
		default:
			p = make([]byte, body)
		}
		defer func() { free <- p }()
		if err := r.ReadBody(p); err != nil {
			return err
		}
		return r.Reply(r.Head, out)
	}
}

// A new connection is what a cancelled call costs the next one.
func BenchmarkConnect(b *testing.B) {
	for name, change := range map[string]func(*Config){"plain": nil, "TLS": encrypted} {
		b.Run(name, func(b *testing.B) {
			s, c := pair(b, change)
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				stream, err := c.Stream(b.Context(), s.addr, methodOneWay)
				if err != nil {
					b.Fatal(err)
				}
				stream.Close()
			}
			b.ReportMetric(float64((cpuTime()-start).Microseconds())/float64(b.N), "cpu-us/op")
		})
	}
}
