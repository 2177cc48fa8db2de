package checksum

import (
	"crypto/md5"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"strconv"

	"kintsugi/meta"
)

// crc64NVME is the polynomial, reflected.
const crc64NVME = 0x9a6c9329ac4bc9b5

// ErrParts says that parts do not have the checksums that their whole would need.
var ErrParts = errors.New("parts without a common checksum")

// MultipartETag returns the entity tag of an object made of parts: the MD5 of their MD5s, and their number.
func MultipartETag(parts []meta.Part) (string, error) {
	h := md5.New()
	for i := range parts {
		sum, err := hex.DecodeString(parts[i].ETag)
		if err != nil {
			return "", err
		}
		h.Write(sum)
	}
	return hex.EncodeToString(h.Sum(nil)) + "-" + strconv.Itoa(len(parts)), nil
}

// Multipart returns the checksum of an object made of parts, computed from theirs,
// which must all be of algorithm a.
func Multipart(a meta.ChecksumAlgorithm, composite bool, parts []meta.Part) (meta.Checksum, error) {
	c := meta.Checksum{Algorithm: a, Composite: composite}
	if len(parts) == 0 || !composite && !isComposable(a) {
		return c, ErrParts
	}
	for i := range parts {
		if got := parts[i].Checksum; got.Algorithm != a || len(got.Value) != algorithms[a].size {
			return c, ErrParts
		}
	}
	if composite {
		h := newHash(a)
		for i := range parts {
			h.Write(parts[i].Checksum.Value)
		}
		c.Value = h.Sum(nil)
		return c, nil
	}
	p := polynomialOf(a)
	sum := value(parts[0].Checksum.Value)
	for i := range parts[1:] {
		sum = p.combine(sum, value(parts[i+1].Checksum.Value), parts[i+1].Size)
	}
	c.Value = binary.BigEndian.AppendUint64(nil, sum)[8-algorithms[a].size:]
	return c, nil
}

func value(sum []byte) uint64 {
	if len(sum) == 4 {
		return uint64(binary.BigEndian.Uint32(sum))
	}
	return binary.BigEndian.Uint64(sum)
}

// polynomial is that of a CRC, reflected: the highest of its bits bits stands for x^0.
type polynomial struct {
	reflected uint64
	bits      int
}

func polynomialOf(a meta.ChecksumAlgorithm) polynomial {
	switch a {
	case meta.CRC32:
		return polynomial{crc32.IEEE, 32}
	case meta.CRC32C:
		return polynomial{crc32.Castagnoli, 32}
	}
	return polynomial{crc64NVME, 64}
}

// combine returns the CRC of a concatenation from that of its halves, the second
// being size bytes long: crc(ab) = crc(a) * x^(8*size) + crc(b), modulo the polynomial. The
// inversions before and after cancel out.
func (p polynomial) combine(first, second uint64, size int64) uint64 {
	power := uint64(1) << (p.bits - 1)  // x^0
	square := uint64(1) << (p.bits - 9) // x^8
	for ; size > 0; size >>= 1 {
		if size&1 != 0 {
			power = p.multiply(power, square)
		}
		square = p.multiply(square, square)
	}
	return p.multiply(power, first) ^ second
}

// multiply returns a*b modulo the polynomial.
func (p polynomial) multiply(a, b uint64) uint64 {
	var product uint64
	for bit := uint64(1) << (p.bits - 1); bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		carry := b & 1
		b >>= 1
		if carry != 0 {
			b ^= p.reflected
		}
	}
	return product
}
