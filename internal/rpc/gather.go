package rpc

import (
	"net"
	"sync"
)

// gatherSize is up to how many bytes of TLS records are gathered for one write, four full records.
const gatherSize = 66 << 10

// gatherConn is below a TLS connection, which writes every record by itself: a shard of 128 KiB would be nine system
// calls. Between begin and flush it gathers records instead.
type gatherConn struct {
	net.Conn
	spare *sync.Pool // of *[]byte, for all connections: most of them are idle

	mu   sync.Mutex // TLS may write an alert while it reads
	held *[]byte    // guarded by mu: nil outside of begin and flush
}

func (g *gatherConn) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = g.spare.Get().(*[]byte)
}

func (g *gatherConn) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held == nil {
		return g.Conn.Write(p)
	}
	if len(*g.held)+len(p) > gatherSize {
		if err := g.send(); err != nil {
			return 0, err
		}
	}
	*g.held = append(*g.held, p...)
	return len(p), nil
}

// send writes what is held, under mu.
func (g *gatherConn) send() error {
	_, err := g.Conn.Write(*g.held)
	*g.held = (*g.held)[:0]
	return err
}

// flush ends what begin began.
func (g *gatherConn) flush() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.send()
	g.spare.Put(g.held)
	g.held = nil
	return err
}
