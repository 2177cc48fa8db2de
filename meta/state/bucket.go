package state

import (
	"fmt"
	"strings"

	"kintsugi/meta"
)

// bucket returns the record of a bucket that takes commands, or ErrNoSuchBucket; ErrBusy while someone
// who wants to delete it looks whether it is empty.
func (x *tx) bucket(name string) (meta.Bucket, error) {
	b, err := x.bucketRecord(name)
	switch {
	case err != nil:
	case b.Name == "":
		err = fmt.Errorf("bucket %q: %w", name, meta.ErrNoSuchBucket)
	case b.Deleting:
		err = meta.ErrBusy
	}
	return b, err
}

// bucketRecord returns the record, the zero Bucket if there is none. It is asked for with
// every command, hence the mirror in memory.
func (x *tx) bucketRecord(name string) (meta.Bucket, error) {
	if b, ok := x.machine.buckets[x.group][name]; ok {
		return b, nil
	}
	var b meta.Bucket
	ok, err := x.decode(bucketKey(x.group, name), &b)
	if ok && err == nil {
		x.mirror(b)
	}
	return b, err
}

func (x *tx) mirror(b meta.Bucket) {
	if x.machine.buckets[x.group] == nil {
		x.machine.buckets[x.group] = make(map[string]meta.Bucket)
	}
	x.machine.buckets[x.group][b.Name] = b
}

func (x *tx) saveBucket(b meta.Bucket) error {
	if err := x.encode(bucketKey(x.group, b.Name), b); err != nil {
		return err
	}
	x.mirror(b)
	return nil
}

// createBucket begins the life of a bucket, in group 0. One of the same name that is being created is
// returned as it is, so that the caller completes it.
func (x *tx) createBucket(b meta.Bucket) (meta.Bucket, error) {
	if b.Name == "" || strings.IndexByte(b.Name, 0) >= 0 {
		return b, fmt.Errorf("bucket name %q: %w", b.Name, meta.ErrFormat)
	}
	old, err := x.bucketRecord(b.Name)
	switch {
	case err != nil:
		return b, err
	case old.Deleting:
		return b, meta.ErrBusy
	case old.Creating:
		return old, nil
	case old.Name != "":
		return b, meta.ErrBucketExists
	}
	b.Incarnation = x.sequence()
	b.Created, b.Revision, b.Creating = x.at, 1, true
	b.Deleting, b.Freeze, b.Frozen = false, 0, 0
	return b, x.saveBucket(b)
}

// putBucket takes over the record of group 0, unless it has a newer one.
func (x *tx) putBucket(c meta.PutBucket) (any, error) {
	old, err := x.bucketRecord(c.Bucket.Name)
	if err != nil {
		return nil, err
	}
	removed, err := x.number(nameKey(x.group, kindRemoved, c.Bucket.Name, 0))
	if err != nil {
		return nil, err
	}
	b := c.Bucket
	switch {
	case old.Name == "" && !c.Create, old.Incarnation > b.Incarnation, removed >= b.Incarnation:
		return nil, nil // deleted meanwhile
	case old.Incarnation == b.Incarnation && old.Revision >= b.Revision:
		return nil, nil
	case old.Incarnation == b.Incarnation:
		b.Deleting, b.Freeze, b.Frozen = old.Deleting, old.Freeze, old.Frozen
	}
	return nil, x.saveBucket(b)
}

// openBucket ends the creation: all groups have the record.
func (x *tx) openBucket(c meta.BucketRef) (any, error) {
	b, err := x.bucketRecord(c.Name)
	if err != nil || b.Incarnation != c.Incarnation || !b.Creating {
		return nil, err
	}
	b.Creating = false
	return nil, x.saveBucket(b)
}

// freezeBucket makes the bucket refuse commands in this group and tells whether it is empty here. A group that has
// not heard of the bucket, or not any more, is empty.
func (x *tx) freezeBucket(c meta.FreezeBucket) (meta.Frozen, error) {
	b, err := x.bucketRecord(c.Name)
	if err != nil {
		return meta.Frozen{}, err
	}
	first := c.Freeze == 0
	if first && b.Name == "" {
		return meta.Frozen{}, meta.ErrNoSuchBucket
	}
	if !first && b.Incarnation != c.Incarnation {
		return meta.Frozen{Bucket: b, Empty: true}, nil
	}
	if !first && b.Freeze > c.Freeze {
		return meta.Frozen{}, meta.ErrBusy
	}
	objects, err := x.any(nameKey(x.group, kindObject, c.Name, 0))
	if err != nil {
		return meta.Frozen{}, err
	}
	versions, err := x.any(nameKey(x.group, kindVersion, c.Name, 0))
	if err != nil {
		return meta.Frozen{}, err
	}
	b.Deleting, b.Frozen, b.Freeze = true, x.at.UnixMilli(), c.Freeze
	if first {
		b.Freeze = x.sequence()
	}
	return meta.Frozen{Bucket: b, Empty: !objects && !versions}, x.saveBucket(b)
}

// frozenBy returns the record if the attempt c still has it frozen.
func (x *tx) frozenBy(c meta.FreezeBucket) (meta.Bucket, bool, error) {
	b, err := x.bucketRecord(c.Name)
	if err != nil || b.Name == "" || b.Incarnation != c.Incarnation {
		return b, false, err
	}
	if b.Freeze > c.Freeze {
		return b, false, meta.ErrBusy
	}
	return b, b.Deleting && b.Freeze == c.Freeze, nil
}

// thawBucket undoes freezeBucket.
func (x *tx) thawBucket(c meta.FreezeBucket) (any, error) {
	b, frozen, err := x.frozenBy(c)
	if err != nil || !frozen {
		return nil, err
	}
	b.Deleting, b.Frozen = false, 0
	return nil, x.saveBucket(b)
}

// removeBucket ends the life of a bucket in this group. It leaves a mark, so that a
// creator that was slow does not raise the bucket from the dead.
func (x *tx) removeBucket(c meta.FreezeBucket) (any, error) {
	_, frozen, err := x.frozenBy(c)
	if err != nil {
		return nil, err
	}
	mark := nameKey(x.group, kindRemoved, c.Name, 0)
	removed, err := x.number(mark)
	if err != nil {
		return nil, err
	}
	if c.Incarnation > removed {
		x.setNumber(mark, c.Incarnation)
	}
	if !frozen {
		return nil, nil
	}
	x.remove(bucketKey(x.group, c.Name))
	delete(x.machine.buckets[x.group], c.Name)
	return nil, nil
}

// dropUploads drops up to c.Max uploads of a frozen bucket and returns how many.
func (x *tx) dropUploads(c meta.FreezeBucket) (int, error) {
	_, frozen, err := x.frozenBy(c)
	if err != nil || !frozen {
		return 0, err
	}
	var keys [][]byte
	var ids []string
	err = x.scan(nameKey(x.group, kindUpload, c.Name, 0), nil, func(key, content []byte) (bool, error) {
		var u meta.Upload
		if err := x.unmarshal(content, &u); err != nil {
			return false, err
		}
		keys, ids = append(keys, append([]byte(nil), key...)), append(ids, u.ID)
		return len(keys) < c.Max, nil
	})
	if err != nil {
		return 0, err
	}
	for i := range keys {
		x.remove(keys[i])
		if err := x.dropLayout(ids[i], nil); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}

// setVersioning changes the record of group 0.
func (x *tx) setVersioning(c meta.SetVersioning) (meta.Bucket, error) {
	return x.revise(c.Name, func(b *meta.Bucket) { b.Versioning = c.Versioning })
}

// setConsistency changes the record of group 0.
func (x *tx) setConsistency(c meta.SetConsistency) (meta.Bucket, error) {
	return x.revise(c.Name, func(b *meta.Bucket) { b.Consistency = c.Consistency })
}

// revise makes the next revision of a bucket's record.
func (x *tx) revise(name string, change func(*meta.Bucket)) (meta.Bucket, error) {
	b, err := x.bucket(name)
	if err != nil {
		return b, err
	}
	if b.Creating {
		return b, meta.ErrNoSuchBucket
	}
	change(&b)
	b.Revision++
	return b, x.saveBucket(b)
}
