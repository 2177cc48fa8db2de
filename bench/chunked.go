package bench

import (
	"math/bits"
	"strconv"
)

const chunkBytes = 64 << 10 // what minio-go uses

// chunkFrame is what a chunk costs beside its size in hex digits:
// ";chunk-signature=", 64 digits and two line ends.
const chunkFrame = 17 + 64 + 4

// chunkedSize returns how long a body of n bytes is in signed chunks.
func chunkedSize(n int) int {
	size := 0
	for left := n; left > 0; left -= chunkBytes {
		chunk := min(left, chunkBytes)
		size += hexDigits(chunk) + chunkFrame + chunk
	}
	return size + 1 + chunkFrame
}

func hexDigits(n int) int { return max((bits.Len(uint(n))+3)/4, 1) }

// appendSignedChunks appends body in the form of STREAMING-AWS4-HMAC-SHA256-PAYLOAD.
// The signer must have signed the header just before.
func appendSignedChunks(dst, body []byte, s *signer) []byte {
	for {
		chunk := body[:min(len(body), chunkBytes)]
		body = body[len(chunk):]
		s.signChunk(chunk)
		dst = strconv.AppendInt(dst, int64(len(chunk)), 16)
		dst = append(dst, ";chunk-signature="...)
		dst = append(dst, s.signature...)
		dst = append(dst, "\r\n"...)
		dst = append(dst, chunk...)
		dst = append(dst, "\r\n"...)
		if len(chunk) == 0 {
			return dst
		}
	}
}
