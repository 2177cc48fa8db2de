package state

import "kintsugi/meta"

func (x *tx) deleteObjects(c meta.DeleteObjects) ([]meta.DeleteResult, error) {
	if len(c.Objects) > 0 {
		if _, err := x.bucket(c.Objects[0].Bucket); err != nil {
			return nil, err // the client sends deletes of one bucket
		}
	}
	results := make([]meta.DeleteResult, len(c.Objects))
	for i := range c.Objects {
		results[i].Deleted, results[i].Err = x.deleteObject(c.Objects[i])
		if x.fault != nil {
			return nil, x.fault
		}
	}
	return results, nil
}

func (x *tx) deleteObject(c meta.DeleteObject) (meta.Deleted, error) {
	b, err := x.bucket(c.Bucket)
	if err != nil {
		return meta.Deleted{}, err
	}
	id := requestID(c.RequestID, c.Bucket, c.Key, c.Version)
	if done, err := x.executed(id); done != nil || err != nil {
		if err == nil && done.Deleted != nil {
			return *done.Deleted, nil
		}
		return meta.Deleted{}, err
	}
	cur, err := x.current(c.Bucket, c.Key)
	if err != nil {
		return meta.Deleted{}, err
	}
	var deleted meta.Deleted
	if c.Version != nil {
		deleted, err = x.deleteVersion(b, c, cur)
	} else {
		deleted, err = x.deleteCurrent(b, c, cur)
	}
	if err != nil {
		return deleted, err
	}
	return deleted, x.remember(id, request{Deleted: &deleted})
}

// deleteCurrent removes the object, or hides it behind a delete marker where the bucket is versioned.
func (x *tx) deleteCurrent(b meta.Bucket, c meta.DeleteObject, cur *record) (meta.Deleted, error) {
	deleted := meta.Deleted{Versioned: b.Versioning != meta.Unversioned}
	if err := check(c.Condition, cur); err != nil {
		return deleted, err
	}
	if err := x.giveWay(b, c.Key, cur); err != nil || !deleted.Versioned {
		return deleted, err
	}
	sequence := x.sequence()
	marker := &record{Version: meta.Version{
		Key: c.Key, ID: nextID(b, sequence), Sequence: sequence, DeleteMarker: true, Modified: x.at,
	}}
	deleted.Version, deleted.DeleteMarker = marker.Version.ID, true
	return deleted, x.saveOlder(b.Name, marker)
}

// deleteVersion removes one version. If it was the newest, the next is current.
func (x *tx) deleteVersion(b meta.Bucket, c meta.DeleteObject, cur *record) (meta.Deleted, error) {
	deleted := meta.Deleted{Version: *c.Version, Versioned: b.Versioning != meta.Unversioned}
	if cur != nil && cur.Version.ID == *c.Version {
		if err := check(c.Condition, cur); err != nil {
			return deleted, err
		}
		x.remove(objectKey(x.group, b.Name, c.Key))
		if err := x.drop(cur); err != nil {
			return deleted, err
		}
		return deleted, x.promote(b.Name, c.Key)
	}
	old, err := x.older(b.Name, c.Key, *c.Version)
	if err != nil {
		return deleted, err
	}
	if err := check(c.Condition, old); err != nil || old == nil {
		return deleted, err
	}
	deleted.DeleteMarker = old.Version.DeleteMarker
	x.removeOlder(b.Name, old)
	if err := x.drop(old); err != nil || cur != nil {
		return deleted, err
	}
	return deleted, x.promote(b.Name, c.Key)
}
