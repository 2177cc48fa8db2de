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
	ErrFull           = errors.New("metadata drive full")
	ErrTooLarge       = errors.New("command or record too large")
	ErrBusy           = errors.New("bucket is being created or deleted by another request")
)

// ErrUncertain comes with the refusal of a command that was sent before, and whose answer was lost: the earlier sending may
// have been executed, or may be yet. What the command refers to must be left alone.
var ErrUncertain = errors.New("an earlier sending of the command may be executed")

// errorCodes are the numbers of the errors between processes. They never change; 0 is no error.
var errorCodes = []struct {
	code uint16
	err  error
}{
	{1, ErrUnavailable}, {2, ErrNoSuchBucket}, {3, ErrBucketExists}, {4, ErrBucketNotEmpty},
	{5, ErrNoSuchKey}, {6, ErrNoSuchVersion}, {7, ErrNoSuchUpload}, {8, ErrInvalidPart},
	{9, ErrPartOrder}, {10, ErrPartTooSmall}, {11, ErrPrecondition}, {12, ErrStaleEpoch},
	{13, ErrBlobExpired}, {14, ErrCorrupt}, {15, ErrFull}, {16, ErrTooLarge}, {17, ErrBusy},
	{18, ErrFormat},
}

// ErrorCode returns the number of err; ok is false if it is none of this package.
func ErrorCode(err error) (code uint16, ok bool) {
	for _, e := range errorCodes {
		if errors.Is(err, e.err) {
			return e.code, true
		}
	}
	return 0, false
}

// ErrorOf returns the error with a code, or nil for one that this version does not know.
func ErrorOf(code uint16) error {
	for _, e := range errorCodes {
		if e.code == code {
			return e.err
		}
	}
	return nil
}

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
