package gateway

import "github.com/valyala/fasthttp"

// level is what a request's path names.
type level uint8

const (
	serviceLevel level = iota // "/"
	bucketLevel
	objectLevel
)

// route is an operation and what requests it.
type route struct {
	method string
	level  level
	sub    string // sub-resource in the query, "" for none
	header string // header field that must be there, "" for none

	name   string // S3's name of the operation
	body   bool   // the handler reads the body
	check  func(*request) error
	handle func(*request) error
}

const (
	get  = fasthttp.MethodGet
	head = fasthttp.MethodHead
	put  = fasthttp.MethodPut
	post = fasthttp.MethodPost
	del  = fasthttp.MethodDelete
)

// routes is the one table of operations. The first row that matches serves the request; what no
// row matches is refused and never falls through to another operation.
var routes = []route{
	{method: get, level: serviceLevel, name: "ListBuckets", handle: (*request).listBuckets},

	{method: put, level: bucketLevel, name: "CreateBucket", body: true, handle: (*request).createBucket},
	{method: head, level: bucketLevel, name: "HeadBucket", handle: (*request).headBucket},
	{method: del, level: bucketLevel, name: "DeleteBucket", handle: (*request).deleteBucket},
	{method: get, level: bucketLevel, sub: "location", name: "GetBucketLocation", handle: (*request).getBucketLocation},
	{method: get, level: bucketLevel, sub: "versioning", name: "GetBucketVersioning", handle: (*request).getBucketVersioning},
	{method: put, level: bucketLevel, sub: "versioning", name: "PutBucketVersioning", body: true, handle: (*request).putBucketVersioning},

	{method: get, level: bucketLevel, name: "ListObjects", handle: (*request).listObjects},
	{method: get, level: bucketLevel, sub: "list-type", name: "ListObjectsV2", handle: (*request).listObjectsV2},
	{method: get, level: bucketLevel, sub: "versions", name: "ListObjectVersions", handle: (*request).listVersions},
	{method: post, level: bucketLevel, sub: "delete", name: "DeleteObjects", body: true, check: (*request).checkDeleteObjects, handle: (*request).deleteObjects},

	{method: get, level: objectLevel, name: "GetObject", handle: (*request).getObject},
	{method: head, level: objectLevel, name: "HeadObject", handle: (*request).getObject},
	{method: put, level: objectLevel, sub: "uploadId", header: "x-amz-copy-source", name: "UploadPartCopy", handle: (*request).uploadPartCopy},
	{method: put, level: objectLevel, sub: "uploadId", name: "UploadPart", body: true, check: (*request).checkPart, handle: (*request).uploadPart},
	{method: put, level: objectLevel, header: "x-amz-copy-source", name: "CopyObject", handle: (*request).copyObject},
	{method: put, level: objectLevel, name: "PutObject", body: true, check: (*request).checkPut, handle: (*request).putObject},
	{method: del, level: objectLevel, name: "DeleteObject", handle: (*request).deleteObject},
	{method: get, level: objectLevel, sub: "tagging", name: "GetObjectTagging", handle: (*request).getTags},
	{method: put, level: objectLevel, sub: "tagging", name: "PutObjectTagging", body: true, handle: (*request).putTags},
	{method: del, level: objectLevel, sub: "tagging", name: "DeleteObjectTagging", handle: (*request).deleteTags},
	{method: get, level: objectLevel, sub: "attributes", name: "GetObjectAttributes", handle: (*request).getAttributes},

	{method: post, level: objectLevel, sub: "uploads", name: "CreateMultipartUpload", handle: (*request).createUpload},
	{method: post, level: objectLevel, sub: "uploadId", name: "CompleteMultipartUpload", body: true, handle: (*request).completeUpload},
	{method: del, level: objectLevel, sub: "uploadId", name: "AbortMultipartUpload", handle: (*request).abortUpload},
	{method: get, level: objectLevel, sub: "uploadId", name: "ListParts", handle: (*request).listParts},
	{method: get, level: bucketLevel, sub: "uploads", name: "ListMultipartUploads", handle: (*request).listUploads},

	// What a bucket or an object never has here is reported as not configured, as S3 does.
	{method: get, level: bucketLevel, sub: "policy", name: "GetBucketPolicy", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "policyStatus", name: "GetBucketPolicyStatus", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "cors", name: "GetBucketCors", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "lifecycle", name: "GetBucketLifecycleConfiguration", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "tagging", name: "GetBucketTagging", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "website", name: "GetBucketWebsite", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "replication", name: "GetBucketReplication", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "encryption", name: "GetBucketEncryption", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "object-lock", name: "GetObjectLockConfiguration", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "ownershipControls", name: "GetBucketOwnershipControls", handle: (*request).getUnset},
	{method: get, level: bucketLevel, sub: "publicAccessBlock", name: "GetPublicAccessBlock", handle: (*request).getUnset},
	{method: get, level: objectLevel, sub: "retention", name: "GetObjectRetention", handle: (*request).getUnset},
	{method: get, level: objectLevel, sub: "legal-hold", name: "GetObjectLegalHold", handle: (*request).getUnset},

	{method: get, level: bucketLevel, sub: "accelerate", name: "GetBucketAccelerateConfiguration", handle: (*request).getDefault},
	{method: get, level: bucketLevel, sub: "requestPayment", name: "GetBucketRequestPayment", handle: (*request).getDefault},
	{method: get, level: bucketLevel, sub: "logging", name: "GetBucketLogging", handle: (*request).getDefault},
	{method: get, level: bucketLevel, sub: "notification", name: "GetBucketNotificationConfiguration", handle: (*request).getDefault},
	{method: get, level: bucketLevel, sub: "acl", name: "GetBucketAcl", handle: (*request).getACL},
	{method: get, level: objectLevel, sub: "acl", name: "GetObjectAcl", handle: (*request).getACL},
}

// subresources are S3's: their presence in the query selects the operation, whether we have it or not.
var subresources = map[string]bool{
	"abac": true, "accelerate": true, "acl": true, "analytics": true, "annotation": true, "append": true, "attributes": true, "cors": true,
	"delete": true, "encryption": true, "intelligent-tiering": true, "inventory": true, "legal-hold": true,
	"lifecycle": true, "list-type": true, "location": true, "logging": true, "metadataConfiguration": true,
	"metadataInventoryTable": true, "metadataJournalTable": true, "metadataTable": true, "metrics": true,
	"notification": true, "object-lock": true, "ownershipControls": true, "policy": true, "policyStatus": true,
	"publicAccessBlock": true, "renameObject": true, "replication": true, "requestPayment": true, "restore": true,
	"retention": true, "select": true, "session": true, "tagging": true, "torrent": true, "uploadId": true, "uploads": true,
	"versioning": true, "versions": true, "website": true,
}

// parameters of writes that select nothing.
var parameters = map[string]bool{"partNumber": true, "versionId": true, "x-id": true, "X-Amz-Security-Token": true}

// foreignHeaders select an operation or a property that we do not have. Ignoring them would do something
// else than was asked for.
var foreignHeaders = [...]string{
	"x-amz-write-offset-bytes", "x-amz-rename-source",
	"x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id",
	"x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-customer-key",
	"x-amz-copy-source-server-side-encryption-customer-algorithm",
}

// noRoute stands in requests that match no operation.
var noRoute = route{name: "Unknown"}

// findRoute finds the operation. A stranger does not learn which there are.
func (r *request) findRoute() error {
	r.route = &noRoute
	err := r.matchRoute()
	if err != nil && r.auth.Identity.Anonymous {
		return errAccessDenied
	}
	return err
}

func (r *request) matchRoute() error {
	sub, err := r.subresource()
	if err != nil {
		return err
	}
	level := r.level()
	known := false
	for i := range r.server.byLevel[level] {
		row := r.server.byLevel[level][i]
		known = known || row.method == r.method
		if row.method == r.method && row.sub == sub && (row.header == "" || r.headers.has(row.header)) {
			r.route = row
			if err := r.checkParameters(); err != nil {
				return err
			}
			return r.checkForeign()
		}
	}
	if sub == "" && !known {
		return errMethodNotAllowed
	}
	return errNotImplemented
}

func (r *request) level() level {
	switch {
	case r.key != "":
		return objectLevel
	case r.bucket != "":
		return bucketLevel
	default:
		return serviceLevel
	}
}

// subresource returns the one sub-resource that the query names. Writes with a parameter that has
// no value and that we do not know are taken for a sub-resource to come.
func (r *request) subresource() (string, error) {
	sub := ""
	for _, p := range r.query {
		if !subresources[p.name] {
			if p.value == "" && r.method != get && r.method != head && !parameters[p.name] {
				return "", errNotImplemented
			}
			continue
		}
		if sub != "" {
			return "", errInvalidArgument.withMessage("Conflicting query string parameters: "+sub+", "+p.name).
				withField("ArgumentName", "ResourceType").withField("ArgumentValue", p.name)
		}
		sub = p.name
	}
	return sub, nil
}

// checkParameters refuses what would make a write of something else: a part without its upload must not
// become the object, nor may a new version take the place of a named one.
func (r *request) checkParameters() error {
	switch {
	case r.method != put && r.method != post:
	case r.query.has("partNumber") && r.route.sub != "uploadId":
		return unacceptable("partNumber")
	case r.query.has("versionId") && r.route.sub != "tagging":
		return unacceptable("versionId")
	}
	return nil
}

func unacceptable(parameter string) error {
	return errInvalidArgument.withMessage("This operation does not accept the query parameter "+parameter+".").
		withField("ArgumentName", parameter)
}

// checkForeign refuses headers that ask for what we do not have.
func (r *request) checkForeign() error {
	if r.method == get || r.method == head {
		if r.headers.has("x-amz-server-side-encryption-customer-algorithm") {
			return errInvalidRequest.withMessage("The encryption parameters are not applicable to this object.")
		}
		return nil
	}
	for _, name := range foreignHeaders {
		if r.headers.has(name) {
			return errNotImplemented.withField("Header", name)
		}
	}
	return nil
}
