package rpc

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Versions of the wire format. The two ends agree on the newest that both know when they shake hands.
const (
	version1      = 1 // no checksum
	version2      = 2 // a checksum over header and head
	versionOldest = version1
	versionNewest = version2
)

// A frame is a header, a head and a body. The header, little endian:
//
//	0      version, that of the connection
//	1      kind
//	2:4    method of a call or one-way call, else 0
//	4:6    status of an error answer or abort, else 0
//	6:8    0
//	8:12   of a call: milliseconds that its caller will wait, 0: no limit; else 0
//	12:16  length of the head, bytes, at most MaxHead
//	16:20  length of the body, bytes, at most MaxBody
//	20:24  from version 2 on: CRC-32C of 0:20 and the head
//
// The body has no checksum: shards carry their own, and TLS and TCP theirs.
//
// The client sends calls or one-way calls. The server sends for each call an answer, an error (its head is the detail), or
// a stream and then pieces until an end or an abort (its head is the detail).
const (
	headerSize1   = 20
	headerSize2   = 24
	maxHeaderSize = headerSize2
)

type kind uint8

const (
	kindCall   kind = 1
	kindOneWay kind = 2
	kindAnswer kind = 3
	kindError  kind = 4
	kindStream kind = 5
	kindPiece  kind = 6
	kindEnd    kind = 7
	kindAbort  kind = 8
	kindLast        = kindAbort
)

// header is the first part of a frame.
type header struct {
	kind     kind
	method   Method
	status   uint16
	waitMS   uint32 // milliseconds
	headSize int    // bytes
	bodySize int    // bytes
}

func headerSize(version uint8) int {
	if version == version1 {
		return headerSize1
	}
	return headerSize2
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) } // of the standard library, made once

// appendHeader encodes h, whose sizes are set, in front of head.
func appendHeader(dst []byte, version uint8, h header, head []byte) []byte {
	start := len(dst)
	dst = append(dst, version, byte(h.kind))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(h.method))
	dst = binary.LittleEndian.AppendUint16(dst, h.status)
	dst = binary.LittleEndian.AppendUint16(dst, 0)
	dst = binary.LittleEndian.AppendUint32(dst, h.waitMS)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.headSize))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(h.bodySize))
	if version == version1 {
		return dst
	}
	sum := crc32.Update(crc32.Checksum(dst[start:], castagnoli()), castagnoli(), head)
	return binary.LittleEndian.AppendUint32(dst, sum)
}

// parseHeader decodes p, which has headerSize(version) bytes. It does not look at the checksum.
func parseHeader(version uint8, p []byte) (header, error) {
	if p[0] != version {
		return header{}, fmt.Errorf("%w: version %d on a connection of version %d", ErrFormat, p[0], version)
	}
	h := header{
		kind:   kind(p[1]),
		method: Method(binary.LittleEndian.Uint16(p[2:])),
		status: binary.LittleEndian.Uint16(p[4:]),
		waitMS: binary.LittleEndian.Uint32(p[8:]),
	}
	headSize, bodySize := binary.LittleEndian.Uint32(p[12:]), binary.LittleEndian.Uint32(p[16:])
	if h.kind == 0 || h.kind > kindLast || p[6] != 0 || p[7] != 0 {
		return header{}, fmt.Errorf("%w: not a header: % x", ErrFormat, p[:headerSize1])
	}
	if headSize > MaxHead || bodySize > MaxBody {
		return header{}, fmt.Errorf("%w: head of %d bytes, body of %d", ErrFormat, headSize, bodySize)
	}
	h.headSize, h.bodySize = int(headSize), int(bodySize)
	return h, nil
}

// verifyHead compares the checksum of an encoded header with what header and head have.
func verifyHead(version uint8, encoded, head []byte) error {
	if version == version1 {
		return nil
	}
	sum := crc32.Update(crc32.Checksum(encoded[:headerSize1], castagnoli()), castagnoli(), head)
	if sum != binary.LittleEndian.Uint32(encoded[headerSize1:]) {
		return fmt.Errorf("%w: checksum of a head", ErrFormat)
	}
	return nil
}
