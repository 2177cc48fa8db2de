package shardrpc

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

// Methods of this package. All but Hint are about one drive.
const (
	MethodPut     rpc.Method = 48 // putHead, body: the payload
	MethodReadAt  rpc.Method = 49 // readHead -> xxh3 of the body, 8 bytes; body: what was asked for
	MethodStats   rpc.Method = 50 // idsHead -> body: a found per id
	MethodDelete  rpc.Method = 51 // idsHead
	MethodDrop    rpc.Method = 52 // idsHead, with the epoch of the map that it was decided under
	MethodList    rpc.Method = 53 // listHead -> body: infos
	MethodDigests rpc.Method = 54 // digestsHead -> body: a digest per partition
	MethodUsage   rpc.Method = 55 // head -> body: usage
	MethodHint    rpc.Method = 56 // idsHead with a zero drive: shards that are missing or damaged where they belong
)

// Every request begins with the same head. All numbers are little endian. The version is
// that of what follows: whoever reads takes all versions that it knows and no other, and answers in the same.
//
//	0        version, now 1
//	1:17     drive id
//	17:25    epoch of the cluster map that the caller has; 0: it does not say
//
// Put, 64 bytes, and the payload as the body:
//
//	25:46    shard: blob 16, chunk 4, index 1
//	46       k
//	47       m
//	48:52    partition
//	52:56    chunk size, bytes
//	56:64    xxh3 of the body
//
// ReadAt, 58 bytes:
//
//	25:46    shard
//	46:54    offset, bytes; signed
//	54:58    length, bytes
//
// Stats, Delete, Drop, Hint: up to 16,384 shards, 21 bytes each, from 25 on. List, 54 bytes:
//
//	25:29    partition
//	29:50    shard after which to begin
//	50:54    limit
//
// Digests: up to 65,536 partitions, 4 bytes each, from 25 on. Usage: the head alone.
//
// Answers. An info has 56 bytes, a found is an error code of 2 bytes and an info, which is zero unless the code is. A
// digest has 32 bytes, a usage 61.
//
//	info   0:21   shard            digest  0:8    count     usage  0:8    capacity    40:48  corrupt
//	       21     k                        8:16   sum              8:16   free        48:56  tombstones
//	       22     m                        16:24  bytes            16:24  used        56:60  segments
//	       23     zero                                             24:32  live        60     1: full
//	       24:28  partition                24:32  shards           32:40  shards
//	       28:32  chunk size
//	       32:40  epoch
//	       40:48  size, bytes
//	       48:56  written, Unix seconds
const (
	formatVersion = 1

	headSize   = 25
	putSize    = 64
	readSize   = 58
	listSize   = 54
	idSize     = 21
	infoSize   = 56
	foundSize  = 2 + infoSize
	digestSize = 32
	usageSize  = 61
	sumSize    = 8

	maxIDs        = 16 << 10
	maxPartitions = 64 << 10
	maxList       = 4 << 10 // shards in one answer; who wants more asks again
)

// errFormat is the answer of every decoder to bytes that it did not write.
var errFormat = errors.New("shardrpc: malformed message")

var le = binary.LittleEndian

// head begins every request.
type head struct {
	drive placement.DriveID
	epoch uint64
}

func (h head) append(b []byte) []byte {
	b = append(b, formatVersion)
	b = append(b, h.drive[:]...)
	return le.AppendUint64(b, h.epoch)
}

func decodeHead(b []byte) (h head, rest []byte, err error) {
	if len(b) < headSize || b[0] != formatVersion {
		return h, nil, errFormat
	}
	copy(h.drive[:], b[1:])
	h.epoch = le.Uint64(b[17:])
	return h, b[headSize:], nil
}

// decodeBare reads a request that has nothing but a head.
func decodeBare(b []byte) (head, error) {
	h, _, err := decodeHead(b)
	return h, err
}

// about is the drive that a request is about.
func (h head) about() placement.DriveID { return h.drive }

func appendID(b []byte, id placement.ShardID) []byte {
	b = append(b, id.Blob[:]...)
	b = le.AppendUint32(b, id.Chunk)
	return append(b, id.Index)
}

func decodeID(b []byte) (id placement.ShardID) {
	copy(id.Blob[:], b)
	id.Chunk, id.Index = le.Uint32(b[16:]), b[20]
	return id
}

// putRequest is the head of a Put; the epoch is the header's.
type putRequest struct {
	drive  placement.DriveID
	header shardstore.Header
	sum    uint64
}

func (r *putRequest) append(b []byte) []byte {
	b = head{r.drive, r.header.Epoch}.append(b)
	b = appendID(b, r.header.ID)
	b = append(b, r.header.K, r.header.M)
	b = le.AppendUint32(b, r.header.Partition)
	b = le.AppendUint32(b, r.header.ChunkSize)
	return le.AppendUint64(b, r.sum)
}

func (r putRequest) about() placement.DriveID { return r.drive }

func decodePut(b []byte) (r putRequest, err error) {
	h, rest, err := decodeHead(b)
	if err != nil || len(b) != putSize {
		return r, errFormat
	}
	r.drive = h.drive
	r.header = shardstore.Header{
		ID: decodeID(rest), Epoch: h.epoch, K: b[46], M: b[47], Partition: le.Uint32(b[48:]), ChunkSize: le.Uint32(b[52:]),
	}
	r.sum = le.Uint64(b[56:])
	return r, nil
}

// readRequest is the head of a ReadAt.
type readRequest struct {
	head
	id     placement.ShardID
	offset int64
	length uint32
}

func (r *readRequest) append(b []byte) []byte {
	b = appendID(r.head.append(b), r.id)
	b = le.AppendUint64(b, uint64(r.offset))
	return le.AppendUint32(b, r.length)
}

func decodeRead(b []byte) (r readRequest, err error) {
	h, rest, err := decodeHead(b)
	if err != nil || len(b) != readSize {
		return r, errFormat
	}
	return readRequest{h, decodeID(rest), int64(le.Uint64(b[46:])), le.Uint32(b[54:])}, nil
}

// idsRequest is the head of Stats, Delete, Drop and Hint.
type idsRequest struct {
	head
	ids []placement.ShardID
}

func (r *idsRequest) append(b []byte) []byte {
	b = r.head.append(b)
	for _, id := range r.ids {
		b = appendID(b, id)
	}
	return b
}

func decodeIDs(b []byte) (r idsRequest, err error) {
	h, rest, err := decodeHead(b)
	if err != nil || len(rest)%idSize != 0 || len(rest)/idSize > maxIDs {
		return r, errFormat
	}
	r = idsRequest{h, make([]placement.ShardID, len(rest)/idSize)}
	for i := range r.ids {
		r.ids[i] = decodeID(rest[i*idSize:])
	}
	return r, nil
}

// listRequest is the head of a List.
type listRequest struct {
	head
	partition uint32
	after     placement.ShardID
	limit     uint32
}

func (r *listRequest) append(b []byte) []byte {
	b = le.AppendUint32(r.head.append(b), r.partition)
	return le.AppendUint32(appendID(b, r.after), r.limit)
}

func decodeList(b []byte) (r listRequest, err error) {
	h, rest, err := decodeHead(b)
	if err != nil || len(b) != listSize {
		return r, errFormat
	}
	return listRequest{h, le.Uint32(rest), decodeID(rest[4:]), le.Uint32(rest[25:])}, nil
}

// digestsRequest is the head of Digests.
type digestsRequest struct {
	head
	partitions []uint32
}

func (r *digestsRequest) append(b []byte) []byte {
	b = r.head.append(b)
	for _, p := range r.partitions {
		b = le.AppendUint32(b, p)
	}
	return b
}

func decodeDigests(b []byte) (r digestsRequest, err error) {
	h, rest, err := decodeHead(b)
	if err != nil || len(rest)%4 != 0 || len(rest)/4 > maxPartitions {
		return r, errFormat
	}
	r = digestsRequest{h, make([]uint32, len(rest)/4)}
	for i := range r.partitions {
		r.partitions[i] = le.Uint32(rest[i*4:])
	}
	return r, nil
}

func appendInfo(b []byte, i shardstore.Info) []byte {
	b = append(appendID(b, i.ID), i.K, i.M, 0)
	b = le.AppendUint32(b, i.Partition)
	b = le.AppendUint32(b, i.ChunkSize)
	b = le.AppendUint64(b, i.Epoch)
	b = le.AppendUint64(b, uint64(i.Size))
	return le.AppendUint64(b, uint64(i.Written))
}

func decodeInfo(b []byte) (i shardstore.Info, err error) {
	i.ID, i.K, i.M = decodeID(b), b[21], b[22]
	i.Partition, i.ChunkSize, i.Epoch = le.Uint32(b[24:]), le.Uint32(b[28:]), le.Uint64(b[32:])
	i.Size, i.Written = int64(le.Uint64(b[40:])), int64(le.Uint64(b[48:]))
	if b[23] != 0 || i.Size < 0 || i.Size > shardstore.MaxPayload {
		return i, errFormat
	}
	return i, nil
}

func appendInfos(b []byte, list []shardstore.Info) []byte {
	for i := range list {
		b = appendInfo(b, list[i])
	}
	return b
}

func decodeInfos(b []byte) ([]shardstore.Info, error) {
	if len(b)%infoSize != 0 {
		return nil, errFormat
	}
	list := make([]shardstore.Info, len(b)/infoSize)
	for i := range list {
		var err error
		if list[i], err = decodeInfo(b[i*infoSize:]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func appendDigest(b []byte, d shardstore.Digest) []byte {
	b = le.AppendUint64(b, d.Count)
	b = le.AppendUint64(b, d.Sum)
	b = le.AppendUint64(b, d.Bytes)
	return le.AppendUint64(b, d.Shards)
}

func decodeDigestAnswer(b []byte, n int) ([]shardstore.Digest, error) {
	if len(b) != n*digestSize {
		return nil, errFormat
	}
	list := make([]shardstore.Digest, n)
	for i := range list {
		d := b[i*digestSize:]
		list[i] = shardstore.Digest{Count: le.Uint64(d), Sum: le.Uint64(d[8:]), Bytes: le.Uint64(d[16:]), Shards: le.Uint64(d[24:])}
	}
	return list, nil
}

func appendUsage(b []byte, u shardstore.Usage) []byte {
	for _, n := range []uint64{u.CapacityBytes, u.FreeBytes, u.UsedBytes, u.LiveBytes, u.Shards, u.Corrupt, u.Tombstones} {
		b = le.AppendUint64(b, n)
	}
	b = le.AppendUint32(b, uint32(u.Segments))
	if u.Full {
		return append(b, 1)
	}
	return append(b, 0)
}

func decodeUsage(b []byte) (u shardstore.Usage, err error) {
	if len(b) != usageSize || b[60] > 1 {
		return u, errFormat
	}
	for i, n := range []*uint64{&u.CapacityBytes, &u.FreeBytes, &u.UsedBytes, &u.LiveBytes, &u.Shards, &u.Corrupt, &u.Tombstones} {
		*n = le.Uint64(b[i*8:])
	}
	u.Segments, u.Full = int(le.Uint32(b[56:])), b[60] == 1
	return u, nil
}

// sumOf protects a payload on its way: what is checked at the disk could be damaged behind it.
func sumOf(p []byte) uint64 { return xxh3.Hash(p) }

// malformed names what could not be read.
func malformed(what string) error { return fmt.Errorf("%w: %s", errFormat, what) }
