package meta

import "kintsugi/placement"

// BucketRef names one life of a bucket.
type BucketRef struct {
	Name        string `cbor:"1,keyasint"`
	Incarnation uint64 `cbor:"2,keyasint"`
}

// PutBucket brings a bucket's record from group 0 to another group. Only a record
// that is being created may appear where there is none.
type PutBucket struct {
	Bucket Bucket `cbor:"1,keyasint"`
	Create bool   `cbor:"2,keyasint,omitempty"`
}

// FreezeBucket is a step of an attempt to delete a bucket. Group 0 gives the attempt its number
// (Freeze is 0 in that command); elsewhere a lower one than the record's is refused with ErrBusy.
type FreezeBucket struct {
	Name        string `cbor:"1,keyasint"`
	Incarnation uint64 `cbor:"2,keyasint,omitempty"`
	Freeze      uint64 `cbor:"3,keyasint,omitempty"`
	Max         int    `cbor:"4,keyasint,omitempty"` // of OpDropUploads: uploads dropped by one command
}

// Frozen is the result of freezing a bucket in a group.
type Frozen struct {
	Bucket Bucket `cbor:"1,keyasint"`
	Empty  bool   `cbor:"2,keyasint"` // the group has no version and no marker of it
}

// SetVersioning changes the versioning of a bucket; its result is the new record.
type SetVersioning struct {
	Name       string     `cbor:"1,keyasint"`
	Versioning Versioning `cbor:"2,keyasint"`
}

// SetConsistency changes how reads of a bucket are answered that do not choose; its result is the new record.
type SetConsistency struct {
	Name        string      `cbor:"1,keyasint"`
	Consistency Consistency `cbor:"2,keyasint"`
}

// DeleteObjects are deletes that one group executes in order; its result is []DeleteResult.
type DeleteObjects struct {
	Objects []DeleteObject `cbor:"1,keyasint"`
}

// SetTags replaces the tags of a version; its result is the version's id.
type SetTags struct {
	Bucket  string            `cbor:"1,keyasint"`
	Key     string            `cbor:"2,keyasint"`
	Version *VersionID        `cbor:"3,keyasint,omitempty"`
	Tags    map[string]string `cbor:"4,keyasint,omitempty"`

	RequestID string `cbor:"5,keyasint,omitempty"`
}

// CreateUpload opens an upload; its result is the Upload.
type CreateUpload struct {
	Bucket string `cbor:"1,keyasint"`
	Upload Upload `cbor:"2,keyasint"`
}

// UploadRef names an upload.
type UploadRef struct {
	Bucket string `cbor:"1,keyasint"`
	Key    string `cbor:"2,keyasint"`
	ID     string `cbor:"3,keyasint"`
}

// AbortUpload drops an upload and its parts.
type AbortUpload struct {
	UploadRef
	RequestID string `cbor:"4,keyasint,omitempty"`
}

// Forget removes entries of the deletion queue.
type Forget struct {
	Sequences []uint64 `cbor:"1,keyasint"`
}

// Expand moves blobs of dropped uploads and objects of many parts into the deletion queue.
type Expand struct {
	Pages int `cbor:"1,keyasint"` // how many pages of parts, at most
}

// SetClusterMap replaces the cluster map by the next one.
type SetClusterMap struct {
	Epoch uint64 `cbor:"1,keyasint"`
	Map   []byte `cbor:"2,keyasint"` // CBOR of a placement.Map
}

// The queries that have no struct in the Client's API. GetObject is one, too.
type (
	// BucketQuery is answered by a Bucket.
	BucketQuery struct {
		Name string `cbor:"1,keyasint"`
	}
	// BucketsQuery is answered by a []Bucket in order of names, complete when shorter than Max.
	BucketsQuery struct {
		Prefix string `cbor:"1,keyasint,omitempty"`
		After  string `cbor:"2,keyasint,omitempty"`
		Max    int    `cbor:"3,keyasint"`
	}
	// ListQuery is answered by a ListPage: the part of a page that one group can tell.
	ListQuery struct {
		Kind          ListKind   `cbor:"1,keyasint,omitempty"`
		Bucket        string     `cbor:"2,keyasint"`
		Prefix        string     `cbor:"3,keyasint,omitempty"`
		Delimiter     string     `cbor:"4,keyasint,omitempty"`
		After         string     `cbor:"5,keyasint,omitempty"` // names up to and with it are left out
		AfterVersion  *VersionID `cbor:"6,keyasint,omitempty"` // ListVersionsKind: but of the key After the versions behind this one are listed
		AfterUploadID string     `cbor:"7,keyasint,omitempty"` // ListUploadsKind: but of the key After the uploads behind this one are listed
		Max           int        `cbor:"8,keyasint"`
	}
	// UploadQuery is answered by an Upload.
	UploadQuery struct{ UploadRef }
	// PartsQuery is answered by a []Part in order of numbers, those above After, complete when shorter than Max.
	PartsQuery struct {
		UploadRef
		After int `cbor:"4,keyasint,omitempty"`
		Max   int `cbor:"5,keyasint,omitempty"`
	}
	// GarbageQuery is answered by a GarbagePage.
	GarbageQuery struct {
		Max int `cbor:"1,keyasint"`
	}
	// LiveQuery is answered by a []bool.
	LiveQuery struct {
		Blobs []placement.BlobID `cbor:"1,keyasint"`
	}
	// ClusterMapQuery is answered by the CBOR of a placement.Map, nil if there is none.
	ClusterMapQuery struct{}
)

// GarbagePage is the head of a deletion queue.
type GarbagePage struct {
	Garbage []Garbage
	Pending bool // Expand would bring more
}

// ListKind tells what a ListQuery lists.
type ListKind uint8

const (
	ListObjectsKind ListKind = iota
	ListVersionsKind
	ListUploadsKind
)

// ListEntry is a common prefix, a version or an upload.
type ListEntry struct {
	Name     string // the key or the common prefix
	IsPrefix bool
	Version  Version
	Upload   *Upload // of a listing of uploads
}

// ListPage is a group's share of a listing.
type ListPage struct {
	Entries []ListEntry
	More    bool // there may be more entries behind the last one
}

// Digest has every replica sum up what it holds of the group at this command; its result is the index of the command.
type Digest struct{}
