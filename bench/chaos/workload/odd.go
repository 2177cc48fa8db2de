package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"

	"kintsugi/bench/chaos/history"
)

// Manner is a way in which clients behave badly.
type Manner string

const (
	Vanish Manner = "vanish" // they go away in the middle of requests
	Crawl  Manner = "crawl"  // they send and read a few bytes at a time
	Crowd  Manner = "crowd"  // they connect, and say nothing or little
)

// ParseManner tells whether there is a manner of that name.
func ParseManner(name string) (Manner, bool) {
	m := Manner(name)
	return m, m == Vanish || m == Crawl || m == Crowd
}

// errNobodyCame says that clients that should behave badly could do nothing at all.
var errNobodyCame = errors.New("workload: no request and no connection of them got through")

// Misbehave has so many clients behave badly until ctx ends, beside those of Run.
func (l *Load) Misbehave(ctx context.Context, m Manner, clients int) error {
	act := map[Manner]func(*client, context.Context) error{Vanish: (*client).vanish, Crawl: (*client).crawl, Crowd: (*client).lurk}[m]
	var done atomic.Int64
	var working sync.WaitGroup
	for i := range clients {
		working.Go(func() {
			c := &client{load: l, number: uint16(l.config.Clients + i), rand: rand.New(rand.NewPCG(l.config.Seed, uint64(l.config.Clients+i)))}
			if !c.rest(ctx, arrival) { // they do not all come at once
				return
			}
			for {
				if err := act(c, ctx); err == nil {
					done.Add(1)
				}
				if !c.rest(ctx, oddPause) {
					return
				}
			}
		})
	}
	working.Wait()
	if done.Load() == 0 {
		return fmt.Errorf("%w: %s", errNobodyCame, m)
	}
	return nil
}

// Times of odd clients: within what time they come, and what they rest at most between two requests.
const (
	arrival  = 2 * time.Second
	oddPause = 500 * time.Millisecond
)

// rest waits for some part of a time; false if ctx ended meanwhile.
func (c *client) rest(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(time.Duration(c.rand.Float64() * float64(most)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// anyKey is one of those in use.
func (c *client) anyKey() int32 { return c.load.slots[c.rand.IntN(len(c.load.slots))].Load() }

// oddPut begins a write of a new version by hand, up to its body.
func (c *client) oddPut(ctx context.Context, size int64) (*call, *line, io.Reader, error) {
	key := c.anyKey()
	version := c.load.book.NewVersion(key, size)
	x, _ := c.begin(ctx, history.Put, key, size)
	x.op.Version, x.op.SizeBytes, x.op.Odd, x.op.Partial = version, size, true, true
	conn, err := x.ask(ctx, http.MethodPut)
	return x, conn, c.body(key, version, 0, size), err
}

// ask connects and sends what comes before the body of a request.
func (x *call) ask(ctx context.Context, method string) (*line, error) {
	head, err := x.store.head(ctx, method, x.op.Key, x.op.Version, x.op.SizeBytes)
	if err != nil {
		return nil, err
	}
	conn, err := x.store.dial(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(head); err != nil {
		conn.slam()
		return nil, err
	}
	return conn, nil
}

// vanish goes away in the middle of an answer, or of a body, or after the body without waiting for the answer. A body that was not
// sent whole must have no effect; one that was may have.
func (c *client) vanish(ctx context.Context) error {
	if c.rand.IntN(3) == 0 {
		return c.vanishReading(ctx)
	}
	size := max(2, c.load.config.size(c.rand))
	sent := c.rand.Int64N(size)
	x, conn, body, err := c.oddPut(ctx, size)
	if err != nil {
		x.end(err)
		return err
	}
	if c.rand.IntN(8) == 0 {
		sent, x.op.Partial = size, false
	}
	_ = conn.SetDeadline(time.Now().Add(c.load.config.Timeout)) // else a server that does not read keeps it for ever
	_, err = io.CopyN(conn, body, sent)
	c.rest(ctx, oddPause/2) // the server should notice that something comes, mostly
	c.leave(conn)
	x.endAs(history.Aborted, 0, nil)
	return err
}

// leave ends a connection, politely or not.
func (c *client) leave(conn *line) {
	if c.rand.IntN(2) == 0 {
		conn.slam()
		return
	}
	_ = conn.Close()
}

// vanishReading goes away while it reads, which changes nothing: it is not written down.
func (c *client) vanishReading(ctx context.Context) error {
	x := &call{client: c, store: c.load.stores[c.rand.IntN(len(c.load.stores))], op: history.Op{Key: c.anyKey()}}
	conn, err := x.ask(ctx, http.MethodGet)
	if err != nil {
		return err
	}
	defer c.leave(conn)
	_ = conn.SetDeadline(time.Now().Add(c.load.config.Timeout))
	_, current := c.load.book.Current(x.op.Key)
	_, err = io.CopyN(io.Discard, conn.answers, c.rand.Int64N(max(1, current.SizeBytes)))
	if err == io.EOF {
		err = nil // a short answer, such as that the key does not exist
	}
	return err
}

// Who crawls moves crawlBytes at most at a time, and then rests for some part of crawlPause.
const (
	crawlBytes = 256
	crawlPause = 400 * time.Millisecond
)

// crawl sends a body or reads an answer a few bytes at a time for as long as it may, and then the rest at once.
func (c *client) crawl(ctx context.Context) error {
	if c.rand.IntN(2) == 0 {
		return c.crawlReading(ctx)
	}
	x, conn, body, err := c.oddPut(ctx, c.load.config.size(c.rand))
	if err != nil {
		x.end(err)
		return err
	}
	defer conn.Close()
	if _, err = io.Copy(conn, c.slowly(ctx, body)); err != nil {
		x.endAs(history.Aborted, 0, nil) // it is no fault of a server that it has no patience
		return nil
	}
	x.op.Partial = false
	_ = conn.SetReadDeadline(time.Now().Add(c.load.config.Timeout))
	resp, err := conn.answer(http.MethodPut)
	switch {
	case err != nil && resp != nil: // whatever the reason: what was sent is whole
		x.endAs(history.Unavailable, uint16(resp.StatusCode), err)
	case err != nil:
		x.endAs(history.Aborted, 0, err)
	default:
		resp.Body.Close()
		x.acknowledged(strings.Trim(resp.Header.Get("ETag"), `"`))
	}
	return nil
}

// crawlReading reads slowly, and verifies every byte like everybody.
func (c *client) crawlReading(ctx context.Context) error {
	x, _ := c.begin(ctx, history.Get, c.anyKey(), 0)
	x.op.Odd = true
	conn, err := x.ask(ctx, http.MethodGet)
	if err != nil {
		x.end(err)
		return err
	}
	defer conn.Close()
	resp, err := conn.answer(http.MethodGet)
	if err != nil {
		x.end(err)
		return nil
	}
	defer resp.Body.Close()
	info, err := minio.ToObjectInfo(x.store.bucket, history.KeyName(x.op.Key), resp.Header)
	if err != nil {
		x.lie(history.WrongAnswer, err.Error())
		return nil
	}
	if detail := x.identify(info); detail != "" {
		x.lie(history.WrongAnswer, detail)
		return nil
	}
	n, err := new(verifier).verify(c.slowly(ctx, resp.Body), NewBody(c.load.config.Seed, x.op.Key, x.op.Version), 0)
	x.op.SizeBytes = n
	var wrong *errWrongBytes
	if errors.As(err, &wrong) {
		x.lie(history.WrongBytes, fmt.Sprintf("version %d: %v", x.op.Version, err))
		return nil
	}
	x.end(err)
	return nil
}

// readFunc is a reader that is no more than its method.
type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// slowly reads a few bytes at a time as long as ctx lasts.
func (c *client) slowly(ctx context.Context, r io.Reader) io.Reader {
	return readFunc(func(p []byte) (int, error) {
		if c.rest(ctx, crawlPause) {
			p = p[:min(len(p), 1+c.rand.IntN(crawlBytes))]
		}
		return r.Read(p)
	})
}

// lurk connects and waits until the server ends the connection, or ctx ends: silent, in the middle of a request's head, or after an answer.
func (c *client) lurk(ctx context.Context) error {
	conn, err := c.load.stores[c.rand.IntN(len(c.load.stores))].dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	words := []string{"", "GET /lurk HTTP/1.1\r\nHost: lurk\r\nX-Waits: ", "GET /lurk HTTP/1.1\r\nHost: lurk\r\n\r\n"}
	_, err = io.WriteString(conn, words[c.rand.IntN(len(words))])
	_, _ = io.Copy(io.Discard, conn)
	return err
}
