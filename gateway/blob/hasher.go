package blob

import (
	"fmt"
	"io"
)

// hashPiece is how much of a body goes through the sink at once, in bytes: little enough to be in the cache still.
const hashPiece = 1 << 20

// hasher feeds a sink from its own goroutine, beside the coding and writing.
type hasher struct {
	sink   io.Writer
	pieces chan hashItem
	done   chan struct{}
	err    error // valid after done
}

type hashItem struct {
	buf  *buffer
	data []byte
}

func startHasher(sink io.Writer) *hasher {
	h := &hasher{sink: sink, pieces: make(chan hashItem, 16), done: make(chan struct{})}
	go h.run()
	return h
}

func (h *hasher) run() {
	defer close(h.done)
	for item := range h.pieces {
		if h.err == nil {
			if _, err := h.sink.Write(item.data); err != nil {
				h.err = fmt.Errorf("blob: sink: %w", err)
			}
		}
		item.buf.release()
	}
}

// feed passes data, which lies in b, on. A nil hasher ignores it.
func (h *hasher) feed(b *buffer, data []byte) {
	if h == nil || len(data) == 0 {
		return
	}
	b.retain()
	h.pieces <- hashItem{b, data}
}

// finish waits until the sink has seen everything.
func (h *hasher) finish() error {
	if h == nil {
		return nil
	}
	close(h.pieces)
	<-h.done
	return h.err
}
