package raftgroup

import "sync"

// maxInboxMessages bounds what peers may queue here; what exceeds it is lost, which Raft stands.
const maxInboxMessages = 8192

// inbox is what the loop has to do, given by any goroutine. One swap takes all of it.
type inbox struct {
	mu     sync.Mutex // guards next and closed
	next   work
	closed bool
	wake   chan struct{} // holds one token while next is not empty
}

// work is the content of an inbox.
type work struct {
	messages  []Envelope
	proposals []*proposal
	reads     []*read
	calls     []func()
}

func newInbox() *inbox { return &inbox{wake: make(chan struct{}, 1)} }

// put lets add change what is queued. It fails with ErrStopped once the inbox is closed.
func (b *inbox) put(add func(*work) error) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return ErrStopped
	}
	err := add(&b.next)
	b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return err
}

// take returns what was queued. w, whose content was dealt with, is used again.
func (b *inbox) take(w *work) {
	clear(w.messages)
	clear(w.proposals)
	clear(w.reads)
	clear(w.calls)
	w.messages, w.proposals, w.reads, w.calls = w.messages[:0], w.proposals[:0], w.reads[:0], w.calls[:0]
	b.mu.Lock()
	*w, b.next = b.next, *w
	b.mu.Unlock()
}

func (b *inbox) close() {
	b.mu.Lock()
	b.closed = true
	b.next = work{}
	b.mu.Unlock()
}
