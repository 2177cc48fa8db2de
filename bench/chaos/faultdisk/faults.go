package faultdisk

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Faults say what is wrong with a drive. The zero value is a drive that is well.
type Faults struct {
	// Delay is by how much longer every read, write and sync takes.
	Delay time.Duration
	// ReadErrors and WriteErrors are the shares, from 0 to 1, of reads and of writes and syncs that answer EIO.
	ReadErrors, WriteErrors float64
	// Lost and Misdirected are how many of the next writes are acknowledged but not made, or made at another offset of the same file.
	Lost, Misdirected int
	// Where narrows all that is wrong with reads and writes down to one directory in the root of the drive; "": everywhere.
	Where string
	// LostSyncs has syncs answered that were not done.
	LostSyncs bool
}

// concern tells whether errors hit a file with this name in the drive.
func (f *Faults) concern(name string) bool {
	return f.Where == "" || name == f.Where || strings.HasPrefix(name, f.Where+string(filepath.Separator))
}

// health is what is wrong with a drive now.
type health struct {
	mu     sync.Mutex // guards all below
	faults Faults
	rand   *rand.Rand
}

func (h *health) set(f Faults, seed uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults, h.rand = f, rand.New(rand.NewPCG(seed, 0xd15c))
}

func (h *health) now() Faults {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.faults
}

// fails draws whether one of so many fails.
func (h *health) fails(share float64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return share > 0 && h.rand.Float64() < share
}

// wait takes the time by which the drive is slower. Who is killed meanwhile need not wait for it.
func (h *health) wait(ctx context.Context) {
	delay := h.now().Delay
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// pageSize is to what misdirected writes are aligned, in bytes.
const pageSize = 4 << 10

// badRead and badWrite wait, and tell whether the drive then fails.
func (h *health) badRead(ctx context.Context, name string) bool {
	h.wait(ctx)
	f := h.now()
	return f.concern(name) && h.fails(f.ReadErrors)
}

func (h *health) badWrite(ctx context.Context, name string) bool {
	h.wait(ctx)
	f := h.now()
	return f.concern(name) && h.fails(f.WriteErrors)
}

// fate is what becomes of a write.
type fate uint8

const (
	made fate = iota
	lost
	misdirected
)

// strayShare is the part of writes that go astray until enough did.
const strayShare = 0.25

// fate draws what becomes of a write.
func (h *health) fate(name string) fate {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := &h.faults
	if f.Lost+f.Misdirected <= 0 || !f.concern(name) || h.rand.Float64() >= strayShare {
		return made
	}
	if f.Lost > 0 {
		f.Lost--
		return lost
	}
	f.Misdirected--
	return misdirected
}

// elsewhere is where a write at an offset lands that is misdirected: before it, where something is.
func (h *health) elsewhere(off int64) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rand.Int64N(off/pageSize) * pageSize
}
