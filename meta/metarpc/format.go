package metarpc

import (
	"encoding/binary"
	"fmt"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
)

// Methods of this package.
const (
	MethodPropose rpc.Method = 32 // head: header; body: the command as it goes into the log
	MethodQuery   rpc.Method = 33 // head: header and query
)

// Head of a call, little endian:
//
//	0      version, now 1
//	1      query, 0 in a proposal
//	2      consistency wanted, 0 in a proposal; 2: eventual, of a replica that has lost touch, too
//	3:5    group
//	5:     the query: GetObject as drawn in object.go, others CBOR with integer keys
//
// Head of an answer:
//
//	0      version
//	1      result
//	2:     of resultInline the version, as drawn in object.go
//
// Its body is the result, or the bytes of an object that is kept with its metadata. A server answers in the version of the
// call and refuses one that it does not know. A reader ignores CBOR keys that it does not know.
const (
	formatVersion    = 1
	callHeaderSize   = 5
	answerHeaderSize = 2
)

// Queries and what answers them. The numbers are on the wire and never change.
const (
	queryObject     = 1 + iota // meta.GetObject: resultVersion or resultInline
	queryBucket                // meta.BucketQuery: resultBucket
	queryBuckets               // meta.BucketsQuery: resultBuckets
	queryList                  // meta.ListQuery: resultPage
	queryUpload                // meta.UploadQuery: resultUpload
	queryParts                 // meta.PartsQuery: resultParts
	queryGarbage               // meta.GarbageQuery: resultGarbage
	queryLive                  // meta.LiveQuery: resultBools
	queryClusterMap            // meta.ClusterMapQuery: resultBytes
)

// Results. The numbers are on the wire and never change.
const (
	resultNil     = 1 + iota
	resultBytes   // as they are; none: nil
	resultInt     // CBOR, as those below that are not drawn in object.go
	resultBools   // []bool
	resultBucket  // meta.Bucket
	resultBuckets // []meta.Bucket
	resultFrozen  // meta.Frozen
	resultPut     // meta.Put
	resultDeletes // []deleteResult
	resultID      // meta.VersionID
	resultVersion // version
	resultInline  // version in the head, its bytes in the body
	resultUpload  // upload
	resultPart    // part
	resultParts   // parts
	resultPage    // page
	resultGarbage // garbage
)

// consistencyAlone stands behind those of meta in a header.
const consistencyAlone = uint8(meta.Eventual) + 1

// codec is the CBOR of cold records. It is immutable.
var codec = meta.NewExactCodec()

// decodeInto reads one record that is all of data.
func decodeInto[T any](data []byte) (T, error) {
	var v T
	err := codec.Decode(data, &v)
	return v, err
}

// callHeader is the head of a call but for the query.
type callHeader struct {
	query       uint8
	consistency meta.Consistency
	alone       bool // an eventual read that found no replica which knows a leader
	group       int
}

func (h callHeader) appendTo(b []byte) []byte {
	consistency := byte(h.consistency)
	if h.alone {
		consistency = consistencyAlone
	}
	b = append(b, formatVersion, h.query, consistency)
	return binary.LittleEndian.AppendUint16(b, uint16(h.group))
}

// parseCall reads the head of a call and returns the query behind it.
func parseCall(head []byte) (callHeader, []byte, error) {
	if len(head) < callHeaderSize || head[0] != formatVersion || head[2] > consistencyAlone {
		return callHeader{}, nil, fmt.Errorf("metadata call: %w", meta.ErrFormat)
	}
	h := callHeader{query: head[1], consistency: meta.Consistency(head[2]), group: int(binary.LittleEndian.Uint16(head[3:]))}
	if head[2] == consistencyAlone {
		h.consistency, h.alone = meta.Eventual, true
	}
	return h, head[callHeaderSize:], nil
}
