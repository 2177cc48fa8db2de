package gateway

import (
	"context"
	"errors"
	"io"

	"kintsugi/gateway/blob"
	"kintsugi/internal/plant"
	"kintsugi/meta"
)

// s3Error is an error as the client sees it. The values below are never changed; the
// with methods return copies.
type s3Error struct {
	Code    string
	Status  int
	Message string
	fields  []headerField // further elements of the document
	header  []headerField // further fields of the response header
}

func (e *s3Error) Error() string { return e.Code + ": " + e.Message }

// Is makes copies of an answer equal to the original.
func (e *s3Error) Is(target error) bool {
	t, ok := target.(*s3Error)
	return ok && t.Code == e.Code
}

func (e *s3Error) withMessage(message string) *s3Error {
	c := *e
	c.Message = message
	return &c
}

func (e *s3Error) withField(name, value string) *s3Error {
	c := *e
	c.fields = append(c.fields[:len(c.fields):len(c.fields)], headerField{name, value})
	return &c
}

func (e *s3Error) withHeader(name, value string) *s3Error {
	c := *e
	c.header = append(c.header[:len(c.header):len(c.header)], headerField{name, value})
	return &c
}

// The answers. https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
var (
	errAccessDenied            = &s3Error{Code: "AccessDenied", Status: 403, Message: "Access Denied"}
	errACLNotSupported         = &s3Error{Code: "AccessControlListNotSupported", Status: 400, Message: "The bucket does not allow ACLs"}
	errBadRequest              = &s3Error{Code: "BadRequest", Status: 400, Message: "The request could not be understood."}
	errBucketAlreadyExists     = &s3Error{Code: "BucketAlreadyExists", Status: 409, Message: "The requested bucket name is not available."}
	errBucketAlreadyOwnedByYou = &s3Error{Code: "BucketAlreadyOwnedByYou", Status: 409, Message: "Your previous request to create the named bucket succeeded and you already own it."}
	errBucketNotEmpty          = &s3Error{Code: "BucketNotEmpty", Status: 409, Message: "The bucket you tried to delete is not empty. You must delete all versions in the bucket."}
	errEntityTooLarge          = &s3Error{Code: "EntityTooLarge", Status: 400, Message: "Your proposed upload exceeds the maximum allowed object size."}
	errEntityTooSmall          = &s3Error{Code: "EntityTooSmall", Status: 400, Message: "Your proposed upload is smaller than the minimum allowed object size."}
	errIllegalVersioning       = &s3Error{Code: "IllegalVersioningConfigurationException", Status: 400, Message: "The versioning configuration specified in the request is invalid."}
	errIncompleteBody          = &s3Error{Code: "IncompleteBody", Status: 400, Message: "You did not provide the number of bytes specified by the Content-Length HTTP header."}
	errInternal                = &s3Error{Code: "InternalError", Status: 500, Message: "We encountered an internal error. Please try again."}
	errInvalidArgument         = &s3Error{Code: "InvalidArgument", Status: 400, Message: "Invalid Argument"}
	errInvalidBucketName       = &s3Error{Code: "InvalidBucketName", Status: 400, Message: "The specified bucket is not valid."}
	errInvalidLocation         = &s3Error{Code: "InvalidLocationConstraint", Status: 400, Message: "The specified location-constraint is not valid"}
	errInvalidPart             = &s3Error{Code: "InvalidPart", Status: 400, Message: "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."}
	errInvalidPartNumber       = &s3Error{Code: "InvalidPartNumber", Status: 416, Message: "The requested partnumber is not satisfiable"}
	errInvalidPartOrder        = &s3Error{Code: "InvalidPartOrder", Status: 400, Message: "The list of parts was not in ascending order. Parts must be ordered by part number."}
	errInvalidRange            = &s3Error{Code: "InvalidRange", Status: 416, Message: "The requested range is not satisfiable"}
	errInvalidRequest          = &s3Error{Code: "InvalidRequest", Status: 400, Message: "Invalid Request"}
	errInvalidStorageClass     = &s3Error{Code: "InvalidStorageClass", Status: 400, Message: "The storage class you specified is not valid"}
	errInvalidTag              = &s3Error{Code: "InvalidTag", Status: 400, Message: "The tag provided was not a valid tag."}
	errInvalidURI              = &s3Error{Code: "InvalidURI", Status: 400, Message: "Couldn't parse the specified URI."}
	errKeyTooLong              = &s3Error{Code: "KeyTooLongError", Status: 400, Message: "Your key is too long"}
	errMalformedXML            = &s3Error{Code: "MalformedXML", Status: 400, Message: "The XML you provided was not well-formed or did not validate against our published schema"}
	errMetadataTooLarge        = &s3Error{Code: "MetadataTooLarge", Status: 400, Message: "Your metadata headers exceed the maximum allowed metadata size"}
	errMethodNotAllowed        = &s3Error{Code: "MethodNotAllowed", Status: 405, Message: "The specified method is not allowed against this resource."}
	errNoSuchBucket            = &s3Error{Code: "NoSuchBucket", Status: 404, Message: "The specified bucket does not exist"}
	errNoSuchKey               = &s3Error{Code: "NoSuchKey", Status: 404, Message: "The specified key does not exist."}
	errNoSuchUpload            = &s3Error{Code: "NoSuchUpload", Status: 404, Message: "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."}
	errNoSuchVersion           = &s3Error{Code: "NoSuchVersion", Status: 404, Message: "The specified version does not exist."}
	errNotImplemented          = &s3Error{Code: "NotImplemented", Status: 501, Message: "A header or operation you provided implies functionality that is not implemented."}
	errOperationAborted        = &s3Error{Code: "OperationAborted", Status: 409, Message: "A conflicting conditional operation is currently in progress against this resource. Please try again."}
	errPreconditionFailed      = &s3Error{Code: "PreconditionFailed", Status: 412, Message: "At least one of the pre-conditions you specified did not hold"}
	errRequestHeaderTooLarge   = &s3Error{Code: "RequestHeaderSectionTooLarge", Status: 431, Message: "Your request header and query-string parameters exceed the maximum allowed size."}
	errRequestTimeout          = &s3Error{Code: "RequestTimeout", Status: 400, Message: "Your socket connection to the server was not read from or written to within the timeout period."}
	errServiceUnavailable      = &s3Error{Code: "ServiceUnavailable", Status: 503, Message: "Service is unable to handle request."}
	errSlowDown                = &s3Error{Code: "SlowDown", Status: 503, Message: "Please reduce your request rate."}
)

// causes tells how an error of a lower layer looks to the client. What is not listed is an internal
// error, of which the client learns nothing.
var causes = []struct {
	cause  error
	answer *s3Error
}{
	{errBadTarget, errInvalidURI},
	{errLongKey, errKeyTooLong},
	{errLongBody, errEntityTooLarge},
	{errFraming, errBadRequest},

	{meta.ErrUnavailable, errServiceUnavailable},
	{meta.ErrNoSuchBucket, errNoSuchBucket},
	{meta.ErrBucketExists, errBucketAlreadyOwnedByYou},
	{meta.ErrBucketNotEmpty, errBucketNotEmpty},
	{meta.ErrNoSuchKey, errNoSuchKey},
	{meta.ErrNoSuchVersion, errNoSuchVersion},
	{meta.ErrNoSuchUpload, errNoSuchUpload},
	{meta.ErrInvalidPart, errInvalidPart},
	{meta.ErrPartOrder, errInvalidPartOrder},
	{meta.ErrPartTooSmall, errEntityTooSmall},
	{meta.ErrPrecondition, errPreconditionFailed},
	{meta.ErrBlobExpired, errRequestTimeout},
	{meta.ErrBusy, errOperationAborted},
	{meta.ErrFull, errServiceUnavailable},
	{meta.ErrCorrupt, errServiceUnavailable},
	{meta.ErrTooLarge, errInvalidRequest},

	{blob.ErrUnreadable, errServiceUnavailable},
	{blob.ErrTooFewDrives, errServiceUnavailable},
	{blob.ErrSize, errIncompleteBody},
	{blob.ErrClosed, errServiceUnavailable},

	{context.DeadlineExceeded, errServiceUnavailable},
	{context.Canceled, errServiceUnavailable},
	{io.ErrUnexpectedEOF, errIncompleteBody},
}

// answerTo returns what the client is told of err.
func answerTo(err error) *s3Error {
	if plant.Is(plant.NotFoundLie) && errors.Is(err, blob.ErrUnreadable) {
		return errNoSuchKey
	}
	var known *s3Error
	if errors.As(err, &known) {
		return known
	}
	if answer := signatureAnswer(err); answer != nil {
		return answer
	}
	if marker := (*meta.MarkerError)(nil); errors.As(err, &marker) {
		return markerAnswer(marker)
	}
	for i := range causes {
		if errors.Is(err, causes[i].cause) {
			return causes[i].answer
		}
	}
	return errInternal
}

// markerAnswer: a current delete marker is a missing key, one asked for by its id can only be deleted.
func markerAnswer(marker *meta.MarkerError) *s3Error {
	answer := errNoSuchKey
	if marker.Named {
		answer = errMethodNotAllowed.withHeader("Allow", "DELETE").withHeader("Last-Modified", httpDate(marker.Modified))
	}
	return answer.withHeader("x-amz-delete-marker", "true").withHeader("x-amz-version-id", formatVersion(marker.ID))
}
