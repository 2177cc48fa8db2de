package blob

import "errors"

// Errors are matched with errors.Is; they come wrapped with what was seen of the drives.
var (
	// ErrUnreadable: fewer than k shards of a chunk can be read now. The bytes may come back with
	// their drives, so it is never reported as absence.
	ErrUnreadable = errors.New("blob unreadable: too few shards can be read now")
	// ErrTooFewDrives: the write quorum was not reached; nothing was written that counts.
	ErrTooFewDrives = errors.New("too few healthy drives to write")
	// ErrSize: the body was not as long as announced.
	ErrSize = errors.New("body length differs from the announced size")
	// ErrRange: the bytes asked for lie outside of the blobs.
	ErrRange = errors.New("range outside of the blob")
	// ErrInvalidBlob: a blob record contradicts itself.
	ErrInvalidBlob = errors.New("invalid blob record")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("blob store closed")
)
