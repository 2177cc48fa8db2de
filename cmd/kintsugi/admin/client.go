package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kintsugi/internal/pace"
	"kintsugi/internal/rpc"
)

// Caller is an rpc.Client.
type Caller interface {
	Do(ctx context.Context, addr string, call *rpc.Call) (rpc.Reply, error)
}

// Client asks the process that coordinates a cluster, which it finds from any address of the cluster. It is for one goroutine.
type Client struct {
	caller Caller
	addrs  []string      // to begin with
	found  string        // the coordinator, or who else answers; "" if not looked for yet
	lonely bool          // found knows of no coordinator
	silent []string      // addresses that did not answer in the last search
	search time.Duration // FindTimeout, but for tests
}

const (
	// FindTimeout bounds the search for the coordinator: an election takes a second or two.
	FindTimeout = 5 * time.Second
	whoTimeout  = time.Second // a process that was stopped does not answer
	findPause   = 200 * time.Millisecond
	askTimeout  = 30 * time.Second // of a request that has no deadline
)

// NewClient returns a Client that begins at the addresses.
func NewClient(caller Caller, addrs []string) *Client {
	return &Client{caller: caller, addrs: addrs, search: FindTimeout}
}

// Status asks how the cluster is; with chunks also how many chunks have how many shards. Where there is no coordinator it is what
// one process knows, and Status.Coordinator is empty.
func (c *Client) Status(ctx context.Context, chunks bool) (Status, error) {
	var s Status
	err := c.ask(ctx, MethodStatus, &StatusRequest{Request: Request{Format}, Chunks: chunks}, &s)
	return s, err
}

// Plan says what a change would move.
func (c *Client) Plan(ctx context.Context, change Change) (Plan, error) {
	var p Plan
	err := c.ask(ctx, MethodPlan, ChangeRequest{Request{Format}, change}, &p)
	return p, err
}

// Change changes the cluster map.
func (c *Client) Change(ctx context.Context, change Change) (Plan, error) {
	var p Plan
	err := c.ask(ctx, MethodChange, ChangeRequest{Request{Format}, change}, &p)
	return p, err
}

// Order asks all drives for something. The request's format is set here.
func (c *Client) Order(ctx context.Context, r OrderRequest) (Order, error) {
	var o Order
	r.Format = Format
	err := c.ask(ctx, MethodOrder, r, &o)
	return o, err
}

// Why explains an object, or some of its chunks.
func (c *Client) Why(ctx context.Context, r WhyRequest) (Why, error) {
	var w Why
	r.Format = Format
	err := c.ask(ctx, MethodWhy, r, &w)
	return w, err
}

// Consistency asks for a bucket's consistency, or with a value sets it.
func (c *Client) Consistency(ctx context.Context, bucket, set string) (Consistency, error) {
	var answer Consistency
	err := c.ask(ctx, MethodConsistency, ConsistencyRequest{Request{Format}, bucket, set}, &answer)
	return answer, err
}

// ask sends a request to the coordinator and looks for it anew if it is another meanwhile.
func (c *Client) ask(ctx context.Context, m rpc.Method, request, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	for {
		if err := c.seek(ctx); err != nil {
			return err
		}
		if r, ok := request.(*StatusRequest); ok {
			r.Alone, r.Silent = c.lonely, nil
			if c.lonely {
				r.Silent = c.silent
			}
		}
		head, err := json.Marshal(request)
		if err != nil {
			return err
		}
		if c.lonely && m != MethodStatus && m != MethodConsistency {
			return fmt.Errorf("%w (%s answers): start the metadata nodes that are down; kintsugi admin status says which", ErrNoCoordinator, c.found)
		}
		repeatable := m != MethodChange && m != MethodOrder
		reply, err := c.caller.Do(ctx, c.found, &rpc.Call{Method: m, Head: head, Idempotent: repeatable})
		if err == nil {
			return decodeAnswer(reply.Body, answer)
		}
		addr := c.found
		c.found = ""
		if err := final(ctx, addr, err, repeatable); err != nil {
			return err
		}
		if err := pace.Pause(ctx, findPause); err != nil {
			return err
		}
	}
}

func decodeAnswer(body []byte, answer any) error {
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// final returns the error to give up with, or nil if another process may answer. A change that may have been
// made is not sent twice: it would be refused the second time.
func final(ctx context.Context, addr string, err error, repeatable bool) error {
	var status *rpc.StatusError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s: %w", ErrUnavailable, addr, ctx.Err())
	case errors.As(err, &status):
		text := string(status.Detail)
		switch status.Code {
		case codeElsewhere:
			return nil
		case codeRefused:
			return fmt.Errorf("%w: %s", ErrRefused, strings.TrimPrefix(text, ErrRefused.Error()+": "))
		case codeFormat:
			return fmt.Errorf("%w: %s", ErrFormat, strings.TrimPrefix(text, ErrFormat.Error()+": "))
		case codeUnavailable:
			return fmt.Errorf("%w: %s", ErrUnavailable, strings.TrimPrefix(text, ErrUnavailable.Error()+": "))
		}
	case errors.Is(err, rpc.ErrUnreachable), repeatable && errors.Is(err, rpc.ErrBroken):
		return nil
	}
	return fmt.Errorf("%s: %w", addr, err)
}

// seek makes sure that found is the coordinator at this moment: one that was stopped would take the time of the whole request.
func (c *Client) seek(ctx context.Context) error {
	if c.found != "" {
		if w, err := c.who(ctx, c.found); err == nil && w.Coordinates {
			return nil
		}
	}
	return c.find(ctx)
}

// find looks for the coordinator until FindTimeout. If there is none, it is content with any process that answers.
func (c *Client) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.search)
	defer cancel()
	failures := map[string]error{}
	defer func() { c.silent = silent(failures) }()
	answered := ""
	for {
		addr, lonely := c.round(ctx, failures)
		if addr != "" {
			answered = addr
		}
		if addr != "" && (!lonely || c.lonely) { // who found none before need not wait for one again
			c.found, c.lonely = addr, lonely
			return nil
		}
		if !allRefuse(failures) && pace.Pause(ctx, findPause) == nil {
			continue
		}
		if answered == "" {
			return nobody(c.addrs, failures)
		}
		c.found, c.lonely = answered, true
		return nil
	}
}

// allRefuse tells whether there is no use in asking again: the secret is another.
func allRefuse(failures map[string]error) bool {
	for _, err := range failures {
		if !errors.Is(err, rpc.ErrRefused) {
			return false
		}
	}
	return len(failures) > 0
}

// silent lists who did not answer when asked last.
func silent(failures map[string]error) []string {
	var addrs []string
	for addr, err := range failures {
		if err != nil {
			addrs = append(addrs, addr)
		}
	}
	slices.Sort(addrs)
	return addrs
}

// round asks every address that is known or named by those asked.
func (c *Client) round(ctx context.Context, failures map[string]error) (addr string, lonely bool) {
	queue := slices.Clone(c.addrs)
	for i := 0; i < len(queue); i++ {
		w, err := c.who(ctx, queue[i])
		if failures[queue[i]] == nil || !errors.Is(err, context.DeadlineExceeded) { // the end of the search is no news of a process
			failures[queue[i]] = err
		}
		if err != nil {
			continue
		}
		if w.Coordinates {
			return queue[i], false
		}
		if addr == "" {
			addr = queue[i] // the first that answers: metadata nodes come first, and know most
		}
		rest := queue[i+1:]
		next := []string{}
		for _, a := range append(append([]string{w.Coordinator}, rest...), w.Peers...) {
			if a != "" && !slices.Contains(queue[:i+1], a) && !slices.Contains(next, a) {
				next = append(next, a)
			}
		}
		queue = append(queue[:i+1], next...)
	}
	return addr, addr != ""
}

func (c *Client) who(ctx context.Context, addr string) (Who, error) {
	ctx, cancel := context.WithTimeout(ctx, whoTimeout)
	defer cancel()
	head, err := json.Marshal(Request{Format})
	if err != nil {
		return Who{}, err
	}
	reply, err := c.caller.Do(ctx, addr, &rpc.Call{Method: MethodWho, Head: head, Idempotent: true})
	if err != nil {
		return Who{}, err
	}
	var w Who
	err = decodeAnswer(reply.Body, &w)
	return w, err
}

// nobody says what to check when no address answered.
func nobody(addrs []string, failures map[string]error) error {
	for _, addr := range addrs {
		if errors.Is(failures[addr], rpc.ErrRefused) {
			return fmt.Errorf("%w: %s refused: check that --cluster-secret-file is the secret of this cluster", ErrNobody, addr)
		}
	}
	var causes []error
	for _, addr := range addrs {
		causes = append(causes, fmt.Errorf("%s: %w", addr, failures[addr]))
	}
	return fmt.Errorf("%w at %s: check that a node runs there, that it is the address for other nodes (--rpc-addr, port 9002), and that no firewall is between\n%w",
		ErrNobody, strings.Join(addrs, ", "), errors.Join(causes...))
}
