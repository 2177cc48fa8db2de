package meta

import "errors"

// Errors are matched with errors.Is; they may come wrapped.
var (
	ErrUnavailable    = errors.New("metadata unavailable: no quorum answered in time")
	ErrNoSuchBucket   = errors.New("no such bucket")
	ErrBucketExists   = errors.New("bucket exists")
	ErrBucketNotEmpty = errors.New("bucket not empty")
	ErrNoSuchKey      = errors.New("no such key")
	ErrNoSuchVersion  = errors.New("no such version")
	ErrNoSuchUpload   = errors.New("no such upload")
	ErrInvalidPart    = errors.New("invalid part")
	ErrPartOrder      = errors.New("parts out of order")
	ErrPartTooSmall   = errors.New("part too small")
	ErrPrecondition   = errors.New("precondition failed")
	ErrStaleEpoch     = errors.New("cluster map changed meanwhile")
	ErrBlobExpired    = errors.New("blob too old to be committed") // the orphan sweep may have taken it
	ErrCorrupt        = errors.New("metadata corrupt")
)

// MarkerError says that the version asked for is a delete marker: the current one
// (errors.Is ErrNoSuchKey) or one named by its id (Named).
type MarkerError struct {
	ID       VersionID
	Named    bool
	Modified int64 // Unix milliseconds
}

func (e *MarkerError) Error() string { return "the version is a delete marker" }

// Is lets a marker that is current count as a missing key.
func (e *MarkerError) Is(target error) bool { return target == ErrNoSuchKey && !e.Named }
