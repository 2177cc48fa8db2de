package meta

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/zeebo/xxh3"

	"kintsugi/placement"
)

// Client is the metadata API. Every method routes to the group of its key; those
// that concern all groups say so. Errors are those of this package.
type Client struct {
	consensus Consensus
}

// NewClient returns a client of the groups behind c.
func NewClient(c Consensus) *Client { return &Client{consensus: c} }

// Groups returns the number of groups.
func (c *Client) Groups() int { return c.consensus.Groups() }

// NewBlobID returns a new random id for a blob of key. Its first two bytes are the group of
// the key, so that BlobsLive can ask the right one.
func (c *Client) NewBlobID(bucket, key string) placement.BlobID {
	var id placement.BlobID
	_, _ = rand.Read(id[2:]) // never fails
	binary.BigEndian.PutUint16(id[:2], uint16(c.group(bucket, key)))
	return id
}

// requestID returns id or, if that is empty, a new one. A command that is sent again because its
// answer was lost is known by it: it sees its own success and changes nothing twice.
func requestID(id string) string {
	if id != "" {
		return id
	}
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return string(random[:])
}

// group returns the group that keeps key: a hash, so that no range of keys is hot.
func (c *Client) group(bucket, key string) int {
	return int(xxh3.HashStringSeed(key, xxh3.HashString(bucket)) % uint64(c.consensus.Groups()))
}

// propose encodes a command, with this process's clock, and has group execute it.
func (c *Client) propose(ctx context.Context, group int, op Op, body any) (any, error) {
	cmd, err := EncodeCommand(op, time.Now(), body)
	if err != nil {
		return nil, err
	}
	return c.consensus.Propose(ctx, group, cmd)
}

// change executes a command on a key.
func (c *Client) change(ctx context.Context, bucket, key string, op Op, body any) (any, error) {
	return c.patient(ctx, c.group(bucket, key), bucket, op, body)
}

// patient executes a command on a bucket. While the bucket is frozen, for the moment that someone looks whether it
// is empty, it waits: nobody must be told that a bucket is gone which then stays.
func (c *Client) patient(ctx context.Context, group int, bucket string, op Op, body any) (any, error) {
	deadline := time.Now().Add(frozenPatience)
	uncertain := false
	for {
		result, err := c.propose(ctx, group, op, body)
		uncertain = uncertain || errors.Is(err, ErrUncertain)
		switch {
		case !errors.Is(err, ErrBusy) && err != nil && uncertain:
			return result, fmt.Errorf("%w: %w", err, ErrUncertain)
		case !errors.Is(err, ErrBusy):
			return result, err
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		if err := c.thaw(ctx, group, bucket); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
		case <-time.After(frozenPause):
		}
	}
}

const (
	frozenPatience = 8 * time.Second       // how long a command waits for a frozen bucket
	frozenPause    = 10 * time.Millisecond // between its attempts
)

// PutObject makes a version visible, of Body if it has no blobs. Version.Size must be that of the body
// or the sum of the blobs, else ErrFormat. Version.ID, Sequence and Modified are set by the state machine (Modified: by the proposer's clock).
type PutObject struct {
	Bucket    string    `cbor:"1,keyasint"`
	Key       string    `cbor:"2,keyasint"`
	Version   Version   `cbor:"3,keyasint"`
	Body      []byte    `cbor:"4,keyasint,omitempty"` // of an inline version
	Condition Condition `cbor:"5,keyasint"`
	// Shared says that Version.Blobs belong to a version of this key already (a copy of an object onto
	// itself): the command is refused with ErrNoSuchKey if one of them has been dropped meanwhile.
	Shared bool `cbor:"6,keyasint,omitempty"`
	// Started is when the first shard of the blobs was written, Unix milliseconds, or 0. A command
	// that comes later than MaxBlobAge after it is refused with ErrBlobExpired.
	Started int64 `cbor:"7,keyasint,omitempty"`
}

// MaxBlobAge is how long a blob may wait for the command that refers to it. The orphan
// sweep takes only blobs that are older by a margin and that no group knows.
const MaxBlobAge = 24 * time.Hour

// Put is what a PutObject or CompleteUpload made.
type Put struct {
	Version   VersionID `cbor:"1,keyasint"`
	Versioned bool      `cbor:"2,keyasint"` // whether the bucket's versioning is on or suspended
	ETag      string    `cbor:"3,keyasint"`
	Checksum  Checksum  `cbor:"4,keyasint"`
	Modified  int64     `cbor:"5,keyasint"` // Unix milliseconds
}

// GetObject asks for the current version of a key, or for the one with an id.
type GetObject struct {
	Bucket      string
	Key         string
	Version     *VersionID // nil: the current one
	Body        bool       // bring the body of an inline version along
	Consistency Consistency
}

// DeleteObject removes a version, or puts a delete marker where the bucket is versioned.
type DeleteObject struct {
	Bucket    string     `cbor:"1,keyasint"`
	Key       string     `cbor:"2,keyasint"`
	Version   *VersionID `cbor:"3,keyasint,omitempty"`
	Condition Condition  `cbor:"4,keyasint"`
	RequestID string     `cbor:"5,keyasint,omitempty"`
}

// Deleted is what a DeleteObject did.
type Deleted struct {
	Version      VersionID `cbor:"1,keyasint"` // removed, or of the marker that was made
	Versioned    bool      `cbor:"2,keyasint"`
	DeleteMarker bool      `cbor:"3,keyasint"` // a marker was made or removed
}

// DeleteResult is the outcome for one key of DeleteObjects.
type DeleteResult struct {
	Deleted
	Err error
}

// ListObjects asks for a page of current versions in key order (bytewise).
type ListObjects struct {
	Bucket      string
	Prefix      string
	Delimiter   string // "" or any string
	After       string // keys and common prefixes up to and with it are left out
	Max         int    // objects and common prefixes together, at most 1000; 0 gives an empty, not truncated page
	Consistency Consistency
}

// Listing is a page.
type Listing struct {
	Objects   []Version
	Prefixes  []string
	Truncated bool
	Next      string // the After of the next page, if Truncated
}

// ListVersions asks for a page of versions: by key, newest first.
type ListVersions struct {
	Bucket        string
	Prefix        string
	Delimiter     string
	KeyMarker     string
	VersionMarker *VersionID // with KeyMarker: continue after this version of it; nil: after all of them
	Max           int
	Consistency   Consistency
}

// VersionListing is a page.
type VersionListing struct {
	Versions    []Version // IsLatest and DeleteMarker are set
	Prefixes    []string
	Truncated   bool
	NextKey     string
	NextVersion *VersionID
}

// PutPart adds or replaces a part of an upload. The sum of its blobs must be its size, else ErrInvalidPart.
type PutPart struct {
	Bucket   string `cbor:"1,keyasint"`
	Key      string `cbor:"2,keyasint"`
	UploadID string `cbor:"3,keyasint"`
	Part     Part   `cbor:"4,keyasint"`
	Started  int64  `cbor:"5,keyasint,omitempty"` // as in PutObject

	RequestID string `cbor:"6,keyasint,omitempty"`
}

// ListUploads asks for a page of open uploads by key, then by time of initiation, from all groups.
type ListUploads struct {
	Bucket         string
	Prefix         string
	Delimiter      string
	KeyMarker      string
	UploadIDMarker string
	Max            int // at most 1000
	Consistency    Consistency
}

// UploadListing is a page.
type UploadListing struct {
	Uploads      []Upload
	Prefixes     []string
	Truncated    bool
	NextKey      string
	NextUploadID string
}

// CompletedPart is a part as CompleteMultipartUpload names it.
type CompletedPart struct {
	Number   int      `cbor:"1,keyasint"`
	ETag     string   `cbor:"2,keyasint"` // without quotes
	Checksum Checksum `cbor:"3,keyasint"` // optional; must equal the part's
}

// CompleteUpload makes an object of parts in one command that moves no data. The gateway
// computes ETag and checksum of the whole from Parts beforehand; the state machine refuses (ErrInvalidPart) if a part changed meanwhile.
type CompleteUpload struct {
	Bucket      string          `cbor:"1,keyasint"`
	Key         string          `cbor:"2,keyasint"`
	UploadID    string          `cbor:"3,keyasint"`
	Parts       []CompletedPart `cbor:"4,keyasint"`
	ETag        string          `cbor:"5,keyasint"`
	Checksum    Checksum        `cbor:"6,keyasint"`
	Condition   Condition       `cbor:"7,keyasint"`
	RequestID   string          `cbor:"8,keyasint,omitempty"`
	MinPartSize int64           `cbor:"9,keyasint,omitempty"` // of all but the last: ErrPartTooSmall
}
