package main

import (
	"context"
	"log/slog"
	"time"

	"kintsugi/placement"
)

// hinter passes shards that are missing or damaged to the nodes of their homes: many at a time, and none for long.
type hinter struct {
	view  *clusterView
	send  func(ctx context.Context, addr string, shards []placement.ShardID) error
	log   *slog.Logger
	queue chan placement.ShardID
}

const (
	maxHints     = 4096 // that wait; beyond it repair finds them by comparing
	hintInterval = 200 * time.Millisecond
	hintTimeout  = 2 * time.Second
)

func newHinter(view *clusterView, send func(context.Context, string, []placement.ShardID) error, log *slog.Logger) *hinter {
	return &hinter{view: view, send: send, log: log, queue: make(chan placement.ShardID, maxHints)}
}

// hint never blocks.
func (h *hinter) hint(id placement.ShardID) {
	select {
	case h.queue <- id:
	default:
	}
}

// run sends until ctx ends.
func (h *hinter) run(ctx context.Context) {
	tick := time.NewTicker(hintInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for addr, shards := range h.gather() {
				h.deliver(ctx, addr, shards)
			}
		}
	}
}

// gather takes what waits, by the address of the home's node. Homes of this process were told already.
func (h *hinter) gather() map[string][]placement.ShardID {
	m := h.view.Map()
	byAddr := map[string][]placement.ShardID{}
	for m != nil && len(h.queue) > 0 {
		id := <-h.queue
		homes := m.Homes(m.Partition(id.Blob, id.Chunk))
		if int(id.Index) >= len(homes) {
			continue
		}
		if addr := h.view.nodeAddr(homes[id.Index]); addr != "" {
			byAddr[addr] = append(byAddr[addr], id)
		}
	}
	return byAddr
}

func (h *hinter) deliver(ctx context.Context, addr string, shards []placement.ShardID) {
	ctx, cancel := context.WithTimeout(ctx, hintTimeout)
	defer cancel()
	if err := h.send(ctx, addr, shards); err != nil {
		h.log.Debug("hints were not taken", "addr", addr, "shards", len(shards), "error", err)
	}
}
