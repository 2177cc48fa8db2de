package checksum

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"strings"

	"kintsugi/meta"
)

// Expected is what a request says of its body.
type Expected struct {
	Algorithm meta.ChecksumAlgorithm // to compute; NoChecksum: none is asked for, so S3's default
	value     []byte                 // nil if it comes as a trailer, or not at all
	trailer   bool
	md5       []byte // nil if not sent
}

// unsupported are algorithms that S3 knows beside the five.
var unsupported = [...]string{"md5", "sha512", "xxhash64", "xxhash3", "xxhash128"}

// Parse reads a request's checksum headers. lookup returns the value of a header by its name in
// lower case, and whether it is there: an empty checksum is a wrong one.
func Parse(lookup func(name string) (string, bool)) (Expected, error) {
	var e Expected
	if value, ok := lookup("content-md5"); ok {
		sum, err := base64.StdEncoding.DecodeString(value)
		if err != nil || len(sum) != md5.Size {
			return e, fail(InvalidDigest, "The Content-MD5 you specified was invalid.")
		}
		e.md5 = sum
	}
	if err := e.parseHeaders(lookup); err != nil {
		return e, err
	}
	if name, _ := lookup("x-amz-trailer"); name != "" {
		if err := e.parseTrailer(name); err != nil {
			return e, err
		}
	}
	name, _ := lookup("x-amz-sdk-checksum-algorithm")
	return e, e.checkNamed(name)
}

func (e *Expected) parseHeaders(lookup func(name string) (string, bool)) error {
	for a := meta.CRC32; int(a) < len(algorithms); a++ {
		value, ok := lookup(algorithms[a].header)
		if !ok {
			continue
		}
		if e.Algorithm != meta.NoChecksum {
			return multiple()
		}
		sum, ok := Decode(a, value)
		if !ok {
			return fail(InvalidRequest, "Value for "+algorithms[a].header+" header is invalid.")
		}
		e.Algorithm, e.value = a, sum
	}
	for _, name := range unsupported {
		if _, ok := lookup("x-amz-checksum-" + name); ok {
			return fail(InvalidRequest, "The x-amz-checksum-"+name+" header is not supported.")
		}
	}
	return nil
}

func (e *Expected) parseTrailer(name string) error {
	for a := meta.CRC32; int(a) < len(algorithms); a++ {
		if !strings.EqualFold(strings.TrimSpace(name), algorithms[a].header) {
			continue
		}
		if e.Algorithm != meta.NoChecksum {
			return multiple()
		}
		e.Algorithm, e.trailer = a, true
		return nil
	}
	return fail(InvalidRequest, "The value specified in the x-amz-trailer header is not supported")
}

// checkNamed compares the algorithm that the client announces with the checksum that it sends.
func (e *Expected) checkNamed(name string) error {
	if name == "" {
		return nil
	}
	a, err := Algorithm(name)
	switch {
	case err != nil:
		return err
	case e.Algorithm == meta.NoChecksum:
		return fail(InvalidRequest, "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.")
	case a != e.Algorithm:
		return fail(InvalidRequest, "Value for x-amz-sdk-checksum-algorithm header is invalid.")
	}
	return nil
}

func multiple() error {
	return fail(InvalidRequest, "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
}

// Trailer returns the name of the trailer that the checksum comes in, "" if it does not.
func (e *Expected) Trailer() string {
	if !e.trailer {
		return ""
	}
	return algorithms[e.Algorithm].header
}

// Given tells whether the client sends an MD5 or a checksum of the body.
func (e *Expected) Given() bool { return e.md5 != nil || e.GivenChecksum() }

// GivenChecksum tells whether the client sends a checksum of the body, of Algorithm.
func (e *Expected) GivenChecksum() bool { return e.value != nil || e.trailer }

// Verify compares what was computed with what the client sent. trailer is the value of the
// trailer named by Trailer.
func (e *Expected) Verify(got Sum, trailer string) error {
	if e.md5 != nil && !bytes.Equal(e.md5, got.MD5[:]) {
		return fail(BadDigest, "The Content-MD5 you specified did not match what we received.")
	}
	if !e.GivenChecksum() {
		return nil
	}
	want := e.value
	if e.trailer {
		sum, ok := Decode(e.Algorithm, trailer)
		if !ok {
			return fail(InvalidRequest, "Value for "+algorithms[e.Algorithm].header+" trailing header is invalid.")
		}
		want = sum
	}
	if got.Checksum.Algorithm != e.Algorithm || !bytes.Equal(want, got.Checksum.Value) {
		return Mismatch(e.Algorithm)
	}
	return nil
}

// Mismatch says that a checksum which the client sent is not that of the bytes.
func Mismatch(a meta.ChecksumAlgorithm) error {
	return fail(BadDigest, "The "+strings.ToLower(Name(a))+" you specified did not match the calculated checksum.")
}
