package meta

import (
	"time"

	"kintsugi/placement"
)

// Blob tells where the bytes of an object or part are: they are cut into chunks
// of ChunkSize bytes (the last may be shorter), each coded on its own. Runs gives the codes
// of consecutive chunks: drives may die in the middle of an upload.
type Blob struct {
	ID        placement.BlobID `cbor:"1,keyasint"`
	Size      int64            `cbor:"2,keyasint"`
	ChunkSize int64            `cbor:"3,keyasint"`
	Runs      []Run            `cbor:"4,keyasint"`
}

// Run is a number of consecutive chunks that were written with one code under one epoch.
type Run struct {
	Chunks uint32 `cbor:"1,keyasint"`
	K      uint8  `cbor:"2,keyasint"`
	M      uint8  `cbor:"3,keyasint"`
	Epoch  uint64 `cbor:"4,keyasint"`
	// Attempt is not 0 where drives failed while a chunk was written and its quorum was missed: it was then coded
	// anew, and as a shard is never written twice, under the chunk number with Attempt in its highest 8 bits.
	Attempt uint8 `cbor:"5,keyasint,omitempty"`
}

// Versioning is the state of a bucket's versioning.
type Versioning uint8

const (
	Unversioned Versioning = iota
	VersioningEnabled
	VersioningSuspended
)

// Bucket is the record of a bucket, kept by every group.
type Bucket struct {
	Name        string     `cbor:"1,keyasint"`
	Owner       string     `cbor:"2,keyasint"` // canonical user id
	Created     time.Time  `cbor:"3,keyasint"`
	Versioning  Versioning `cbor:"4,keyasint"`
	Revision    uint64     `cbor:"5,keyasint"`            // grows with every change of the record
	Incarnation uint64     `cbor:"6,keyasint"`            // tells this bucket from a deleted one of the same name
	Deleting    bool       `cbor:"7,keyasint,omitempty"`  // frozen: it is read, but commands on it fail with ErrBusy
	Creating    bool       `cbor:"8,keyasint,omitempty"`  // not yet in every group (kept by group 0 alone)
	Freeze      uint64     `cbor:"9,keyasint,omitempty"`  // the attempt at deletion that froze it; a later one is greater
	Frozen      int64      `cbor:"10,keyasint,omitempty"` // when, Unix milliseconds

	Consistency Consistency `cbor:"11,keyasint,omitempty"` // of reads that do not choose themselves
}

// ChecksumAlgorithm is one of S3's object checksums.
type ChecksumAlgorithm uint8

const (
	NoChecksum ChecksumAlgorithm = iota
	CRC32
	CRC32C
	CRC64NVME
	SHA1
	SHA256
)

// Checksum is an object's or a part's checksum as the client sees it.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
type Checksum struct {
	Algorithm ChecksumAlgorithm `cbor:"1,keyasint,omitempty"`
	Composite bool              `cbor:"2,keyasint,omitempty"` // of the parts' checksums; else of the whole object
	Value     []byte            `cbor:"3,keyasint,omitempty"`
}

// Headers are the standard headers that S3 keeps with an object, and its user metadata.
type Headers struct {
	ContentType        string            `cbor:"1,keyasint,omitempty"`
	ContentEncoding    string            `cbor:"2,keyasint,omitempty"`
	ContentDisposition string            `cbor:"3,keyasint,omitempty"`
	ContentLanguage    string            `cbor:"4,keyasint,omitempty"`
	CacheControl       string            `cbor:"5,keyasint,omitempty"`
	Expires            string            `cbor:"6,keyasint,omitempty"`
	WebsiteRedirect    string            `cbor:"7,keyasint,omitempty"`
	StorageClass       string            `cbor:"8,keyasint,omitempty"` // empty is STANDARD
	User               map[string]string `cbor:"9,keyasint,omitempty"` // lower-case names without x-amz-meta-
	Tags               map[string]string `cbor:"10,keyasint,omitempty"`
}

// VersionID names a version among those of its key: 0 is the null version, others grow with time.
type VersionID uint64

// NullVersion is the id of what is written while a bucket's versioning is off or suspended.
const NullVersion VersionID = 0

// Version is one version of an object, or a delete marker.
type Version struct {
	Key          string    `cbor:"-"`
	ID           VersionID `cbor:"1,keyasint,omitempty"`
	Sequence     uint64    `cbor:"2,keyasint"` // orders the versions of a key: the Raft index of its commit
	DeleteMarker bool      `cbor:"3,keyasint,omitempty"`
	Size         int64     `cbor:"4,keyasint,omitempty"`
	ETag         string    `cbor:"5,keyasint,omitempty"` // hex, without quotes; "-N" after the hash of N parts
	Modified     time.Time `cbor:"6,keyasint"`           // millisecond precision, UTC
	Checksum     Checksum  `cbor:"7,keyasint,omitzero"`
	Headers      Headers   `cbor:"8,keyasint,omitzero"`
	Blobs        []Blob    `cbor:"9,keyasint,omitempty"`  // in order; empty if the body is inline
	Inline       bool      `cbor:"10,keyasint,omitempty"` // the body is kept with the metadata
	Parts        []Part    `cbor:"11,keyasint,omitempty"` // of a multipart object, in order
	RequestID    string    `cbor:"12,keyasint,omitempty"` // of the write: a retry sees its own success
	UploadID     string    `cbor:"13,keyasint,omitempty"` // of the multipart upload that made it
	IsLatest     bool      `cbor:"-"`
	Versioned    bool      `cbor:"-"` // the bucket's versioning is on or suspended: the null version has its name, too; in answers to GetObject
	Body         []byte    `cbor:"-"` // of an inline version, where it was asked for

	// BucketConsistency is the bucket's, in answers to GetObject: so readers learn it without asking.
	BucketConsistency Consistency `cbor:"-"`
}

// Part is one part of a multipart upload or object.
type Part struct {
	Number   int       `cbor:"1,keyasint"` // 1..10,000
	Size     int64     `cbor:"2,keyasint"`
	ETag     string    `cbor:"3,keyasint"`
	Modified time.Time `cbor:"4,keyasint"`
	Checksum Checksum  `cbor:"5,keyasint,omitzero"`
	Blobs    []Blob    `cbor:"6,keyasint,omitempty"` // one blob, or several after UploadPartCopy; not kept in Version.Parts, whose Blobs hold them
}

// Upload is a multipart upload that is neither complete nor aborted.
type Upload struct {
	Key       string            `cbor:"1,keyasint"`
	ID        string            `cbor:"2,keyasint"`
	Initiated time.Time         `cbor:"3,keyasint"`
	Headers   Headers           `cbor:"4,keyasint,omitzero"`
	Algorithm ChecksumAlgorithm `cbor:"5,keyasint,omitempty"` // NoChecksum: the client did not choose
	Composite bool              `cbor:"6,keyasint,omitempty"`
}

// Condition is what must hold of the current version when a write commits. The zero value always holds.
type Condition struct {
	IfMatch         string     `cbor:"1,keyasint,omitempty"` // an ETag without quotes, or "*": any current version
	IfNoneMatch     bool       `cbor:"2,keyasint,omitempty"` // "*": no current version; a delete marker counts as none
	IfMatchSize     *int64     `cbor:"3,keyasint,omitempty"` // deletes only
	IfMatchModified *time.Time `cbor:"4,keyasint,omitempty"` // deletes only, second precision
}

// Garbage is a blob that nothing refers to any more and whose shards are to be removed.
type Garbage struct {
	Sequence uint64    `cbor:"1,keyasint"` // of the queue entry, within its group
	Blob     Blob      `cbor:"2,keyasint"`
	Queued   time.Time `cbor:"3,keyasint"`
}
