package state

import (
	"bytes"
	"encoding/binary"
	"strings"

	"kintsugi/placement"
)

// keyOf begins a key of kind with room for n more bytes.
func keyOf(group uint16, kind byte, n int) []byte {
	k := make([]byte, 3, 3+n)
	binary.BigEndian.PutUint16(k, group)
	k[2] = kind
	return k
}

func nameKey(group uint16, kind byte, bucket string, n int) []byte {
	k := keyOf(group, kind, len(bucket)+1+n)
	k = append(k, bucket...)
	return append(k, 0)
}

func bucketKey(group uint16, bucket string) []byte {
	return append(keyOf(group, kindBucket, len(bucket)), bucket...)
}

func objectKey(group uint16, bucket, key string) []byte {
	return append(nameKey(group, kindObject, bucket, len(key)), key...)
}

// versionsKey is the prefix of the versions of key, or another kind's key of the same form.
func versionsKey(group uint16, kind byte, bucket, key string) []byte {
	k := appendEscaped(nameKey(group, kind, bucket, len(key)+10), key)
	return append(k, 0, 1)
}

func versionKey(group uint16, bucket, key string, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(versionsKey(group, kindVersion, bucket, key), ^sequence)
}

func uploadKey(group uint16, bucket, key, id string) []byte {
	return append(versionsKey(group, kindUpload, bucket, key), id...)
}

func numberKey(group uint16, kind byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(keyOf(group, kind, 8), n)
}

func slotKey(group uint16, kind byte, slot uint16) []byte {
	return binary.BigEndian.AppendUint16(keyOf(group, kind, 2), slot)
}

func blobKey(group uint16, id placement.BlobID) []byte {
	return append(keyOf(group, kindBlob, len(id)), id[:]...)
}

func pagesKey(group uint16, layout string) []byte {
	k := append(keyOf(group, kindPage, len(layout)+3), layout...)
	return append(k, 0)
}

func pageKey(group uint16, layout string, number int) []byte {
	return binary.BigEndian.AppendUint16(pagesKey(group, layout), uint16(number))
}

func droppedKey(group uint16, layout string) []byte {
	return append(keyOf(group, kindDropped, len(layout)), layout...)
}

// appendEscaped escapes the bytes of s so that a terminator 00 01 sorts before all that may follow.
func appendEscaped(b []byte, s string) []byte {
	for {
		i := strings.IndexByte(s, 0)
		if i < 0 {
			return append(b, s...)
		}
		b = append(append(b, s[:i]...), 0, 0xff)
		s = s[i+1:]
	}
}

// cutEscaped reads an escaped string and its terminator from the head of b.
func cutEscaped(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i >= 0 && i+1 < len(b) && b[i+1] == 1 {
		return string(b[:i]), b[i+2:], true // the usual case: nothing was escaped
	}
	var out []byte
	for i >= 0 && i+1 < len(b) {
		out = append(out, b[:i]...)
		switch b[i+1] {
		case 1:
			return string(out), b[i+2:], true
		case 0xff:
			out = append(out, 0)
		default:
			return "", nil, false
		}
		b = b[i+2:]
		i = bytes.IndexByte(b, 0)
	}
	return "", nil, false
}

// behind returns the smallest key that sorts behind all that begin with prefix, nil if there is none.
func behind(prefix []byte) []byte {
	k := bytes.Clone(bytes.TrimRight(prefix, "\xff"))
	if len(k) == 0 {
		return nil
	}
	k[len(k)-1]++
	return k
}
