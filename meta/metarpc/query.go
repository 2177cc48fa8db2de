package metarpc

import (
	"bytes"
	"fmt"

	"kintsugi/meta"
)

// encodeQuery returns the head of a call that asks q; the kind of query is yet to be set in h.
func encodeQuery(h callHeader, q any) ([]byte, error) {
	switch q := q.(type) {
	case meta.GetObject:
		h.query = queryObject
		w := writer{b: h.appendTo(make([]byte, 0, callHeaderSize+16+len(q.Bucket)+len(q.Key)))}
		w.getObject(&q)
		return w.b, nil
	case meta.BucketQuery:
		h.query = queryBucket
	case meta.BucketsQuery:
		h.query = queryBuckets
	case meta.ListQuery:
		h.query = queryList
	case meta.UploadQuery:
		h.query = queryUpload
	case meta.PartsQuery:
		h.query = queryParts
	case meta.GarbageQuery:
		h.query = queryGarbage
	case meta.LiveQuery:
		h.query = queryLive
	case meta.ClusterMapQuery:
		h.query = queryClusterMap
	default:
		return nil, fmt.Errorf("query %T: %w", q, meta.ErrFormat)
	}
	return appendCBOR(h.appendTo(nil), q)
}

// decodeQuery reads the query behind a header.
func decodeQuery(query uint8, data []byte) (any, error) {
	switch query {
	case queryObject:
		r := reader{rest: string(data)}
		q := r.getObject()
		return q, r.err()
	case queryBucket:
		return decodeInto[meta.BucketQuery](data)
	case queryBuckets:
		return decodeInto[meta.BucketsQuery](data)
	case queryList:
		return decodeInto[meta.ListQuery](data)
	case queryUpload:
		return decodeInto[meta.UploadQuery](data)
	case queryParts:
		return decodeInto[meta.PartsQuery](data)
	case queryGarbage:
		return decodeInto[meta.GarbageQuery](data)
	case queryLive:
		return decodeInto[meta.LiveQuery](data)
	case queryClusterMap:
		return decodeInto[meta.ClusterMapQuery](data)
	}
	return nil, fmt.Errorf("query %d: %w", query, meta.ErrFormat)
}

func appendCBOR(b []byte, v any) ([]byte, error) {
	buffer := bytes.NewBuffer(b)
	if err := codec.AppendTo(buffer, v); err != nil {
		return nil, fmt.Errorf("%w: %w", meta.ErrFormat, err)
	}
	return buffer.Bytes(), nil
}
