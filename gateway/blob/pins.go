package blob

import (
	"sync"

	"kintsugi/meta"
	"kintsugi/placement"
)

// pins counts the blobs in use here: the deletion queue waits for their readers.
type pins struct {
	mu     sync.Mutex // guards counts
	counts map[placement.BlobID]int
}

func (p *pins) add(id placement.BlobID) {
	p.mu.Lock()
	p.counts[id]++
	p.mu.Unlock()
}

func (p *pins) remove(id placement.BlobID) {
	p.mu.Lock()
	if p.counts[id]--; p.counts[id] <= 0 {
		delete(p.counts, id)
	}
	p.mu.Unlock()
}

func (p *pins) addAll(blobs []meta.Blob) {
	for i := range blobs {
		p.add(blobs[i].ID)
	}
}

func (p *pins) removeAll(blobs []meta.Blob) {
	for i := range blobs {
		p.remove(blobs[i].ID)
	}
}

// has tells whether a blob is being read or written here.
func (p *pins) has(id placement.BlobID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[id] > 0
}
