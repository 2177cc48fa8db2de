package blob

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kintsugi/internal/directio"
)

func TestClassSize(t *testing.T) {
	for n := int64(1); n < 80<<20; n += n/7 + 1 {
		size := classSize(n)
		if size < n || size%directio.BlockSize != 0 {
			t.Errorf("classSize(%d) = %d", n, size)
		}
		if n > 64<<10 && size > n+n*3/4 {
			t.Errorf("classSize(%d) = %d wastes too much", n, size)
		}
	}
	for _, chunk := range []int64{128 << 10, 1 << 20, 8 << 20, 64 << 20} {
		if size := classSize(chunk); size-chunk < chunk/16 || size > chunk*9/8 {
			t.Errorf("a chunk of %d bytes gets %d", chunk, size)
		}
	}
}

func TestPoolIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPool(4 << 20)
		defer p.close()
		size := int64(1 << 20)
		var held []*buffer
		for b := p.tryGet(size); b != nil; b = p.tryGet(size) {
			if !directio.IsAligned(b.b[:directio.BlockSize]) {
				t.Error("a buffer is not aligned")
			}
			held = append(held, b)
		}
		if len(held) != 3 {
			t.Errorf("%d buffers of 1 MiB and a sixteenth fit into 4 MiB, want 3", len(held))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := p.get(ctx, size); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("get from an exhausted pool: %v", err)
		}
		got := make(chan *buffer)
		go func() {
			b, err := p.get(t.Context(), size)
			if err != nil {
				t.Error(err)
			}
			got <- b
		}()
		held[0].retain()
		held[0].release()
		synctest.Wait()
		select {
		case <-got:
			t.Error("a buffer was handed out that is still in use")
		default:
		}
		held[0].abandon()
		(<-got).release()
		held[0].release()
		for _, b := range held[1:] {
			b.release()
		}
		p.mu.Lock()
		if p.cached != 3*classSize(size) {
			t.Errorf("%d bytes are kept, want three buffers: the abandoned one is gone", p.cached)
		}
		p.mu.Unlock()
		time.Sleep(3 * trimInterval)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.cached != 0 || p.mapped != 0 || p.timer != nil {
			t.Errorf("%d bytes are kept after the pool was idle", p.cached)
		}
	})
}

func TestPoolEvictsOtherSizes(t *testing.T) {
	p := newPool(4 << 20)
	defer p.close()
	for size := int64(64 << 10); size <= 3<<20; size += 64 << 10 {
		b, err := p.get(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		b.release()
		if p.cached != p.mapped || p.mapped > p.limit {
			t.Fatalf("%d of %d bytes are free in a pool of %d", p.cached, p.mapped, p.limit)
		}
	}
}
