package checksum

import (
	"encoding/base64"
	"strconv"
	"strings"

	"kintsugi/meta"
)

// algorithm is how S3 speaks of an algorithm.
type algorithm struct {
	name   string
	header string
	size   int // bytes
}

var algorithms = [...]algorithm{
	meta.CRC32:     {"CRC32", "x-amz-checksum-crc32", 4},
	meta.CRC32C:    {"CRC32C", "x-amz-checksum-crc32c", 4},
	meta.CRC64NVME: {"CRC64NVME", "x-amz-checksum-crc64nvme", 8},
	meta.SHA1:      {"SHA1", "x-amz-checksum-sha1", 20},
	meta.SHA256:    {"SHA256", "x-amz-checksum-sha256", 32},
}

// Types of a multipart object's checksum.
const (
	Composite  = "COMPOSITE"   // of the parts' checksums
	FullObject = "FULL_OBJECT" // of the bytes
)

// Algorithm returns the algorithm that a client names; NoChecksum for "".
func Algorithm(name string) (meta.ChecksumAlgorithm, error) {
	if name == "" {
		return meta.NoChecksum, nil
	}
	for a := meta.CRC32; int(a) < len(algorithms); a++ {
		if strings.EqualFold(name, algorithms[a].name) {
			return a, nil
		}
	}
	return meta.NoChecksum, fail(InvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
}

// Name returns S3's name of a, "" for NoChecksum.
func Name(a meta.ChecksumAlgorithm) string { return algorithms[a].name }

// Header returns the header that carries a checksum of a, in lower case.
func Header(a meta.ChecksumAlgorithm) string { return algorithms[a].header }

// Type returns S3's name of how c covers the object.
func Type(c meta.Checksum) string {
	if c.Composite {
		return Composite
	}
	return FullObject
}

// isComposable tells whether the checksum of a whole follows from those of its parts.
func isComposable(a meta.ChecksumAlgorithm) bool {
	return a == meta.CRC32 || a == meta.CRC32C || a == meta.CRC64NVME
}

// MultipartType decides on the type of a multipart upload's checksum from what the client asks for, "" being no
// wish: CRC64NVME is of the full object, SHA-1 and SHA-256 are composite, CRC32 and CRC32C may be either.
func MultipartType(a meta.ChecksumAlgorithm, wish string) (composite bool, err error) {
	switch strings.ToUpper(wish) {
	case "":
		return a != meta.NoChecksum && a != meta.CRC64NVME, nil
	case Composite:
		composite = true
	case FullObject:
	default:
		return false, fail(InvalidRequest, "Value for x-amz-checksum-type header is invalid.")
	}
	switch {
	case a == meta.NoChecksum:
		return false, fail(InvalidRequest, "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
	case composite && a == meta.CRC64NVME, !composite && !isComposable(a):
		return false, fail(InvalidRequest, "The "+strings.ToUpper(wish)+" checksum type cannot be used with the "+strings.ToLower(Name(a))+" checksum algorithm.")
	}
	return composite, nil
}

// String returns c as clients see it; parts is the number of parts that a composite one covers.
func String(c meta.Checksum, parts int) string {
	s := base64.StdEncoding.EncodeToString(c.Value)
	if c.Composite {
		s += "-" + strconv.Itoa(parts)
	}
	return s
}

// Decode parses the value of a checksum header; ok is false if it is not one of a.
func Decode(a meta.ChecksumAlgorithm, value string) (sum []byte, ok bool) {
	sum, err := base64.StdEncoding.Strict().DecodeString(value)
	return sum, err == nil && len(sum) == algorithms[a].size
}
