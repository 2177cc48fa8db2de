package state

import (
	"bytes"

	"kintsugi/meta"
)

// refer counts a reference to each blob.
func (x *tx) refer(blobs []meta.Blob) error {
	for i := range blobs {
		key := blobKey(x.group, blobs[i].ID)
		n, err := x.number(key)
		if err != nil {
			return err
		}
		x.setNumber(key, n+1)
	}
	return nil
}

// unrefer takes a reference back and queues the blobs that have none left.
func (x *tx) unrefer(blobs []meta.Blob) error {
	for i := range blobs {
		key := blobKey(x.group, blobs[i].ID)
		n, err := x.number(key)
		if err != nil {
			return err
		}
		if n > 1 {
			x.setNumber(key, n-1)
			continue
		}
		x.remove(key)
		g := garbage{Blob: blobs[i], Queued: x.at.UnixMilli()}
		if err := x.encode(numberKey(x.group, kindQueue, x.sequence()), g); err != nil {
			return err
		}
	}
	return nil
}

// dropLayout leaves the parts of a layout that are not kept to expand: there may be thousands.
func (x *tx) dropLayout(layout string, kept []byte) error {
	return x.encode(droppedKey(x.group, layout), dropped{Kept: kept})
}

func (x *tx) forget(c meta.Forget) (any, error) {
	for _, sequence := range c.Sequences {
		x.remove(numberKey(x.group, kindQueue, sequence))
	}
	return nil, nil
}

// maxExpandBlobs bounds an expand: with another page, sequences stay within 16 bits.
const maxExpandBlobs = 16 << 10

// expand works on the first dropped layout: up to c.Pages pages of it.
func (x *tx) expand(c meta.Expand) (any, error) {
	var key []byte
	var d dropped
	err := x.scan(keyOf(x.group, kindDropped, 0), nil, func(k, content []byte) (bool, error) {
		key = bytes.Clone(k)
		return false, x.unmarshal(content, &d)
	})
	if err != nil || key == nil {
		return nil, err
	}
	layout := string(key[3:])
	var keys [][]byte
	var pages []page
	more, blobs := false, 0
	err = x.pagesFrom(layout, d.Next, func(k []byte, p page) (bool, error) {
		if more = len(pages) > 0 && (len(pages) >= c.Pages || blobs > maxExpandBlobs); more {
			d.Next = k
			return false, nil
		}
		for i := range p.Parts {
			blobs += len(p.Parts[i].Blobs)
		}
		blobs += len(p.Blobs)
		keys, pages = append(keys, k), append(pages, p)
		return true, nil
	})
	if x.failed(err) != nil {
		return nil, err
	}
	for i := range pages {
		if err := x.shrink(keys[i], pages[i], d.Kept); err != nil {
			return nil, err
		}
	}
	if !more {
		x.remove(key)
		return nil, nil
	}
	return nil, x.encode(key, d)
}

// shrink drops the parts of a page that are not kept; with them the page, if none is.
func (x *tx) shrink(key []byte, p page, keeping []byte) error {
	var rest []meta.Part
	for _, part := range p.Parts {
		if len(keeping) > 0 && kept(keeping, part.Number) {
			rest = append(rest, part)
			continue
		}
		if err := x.unrefer(part.Blobs); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		p.Parts = rest
		return x.encode(key, p)
	}
	x.remove(key)
	return x.unrefer(p.Blobs)
}
