package gateway

import (
	"encoding/xml"
	"errors"
	"log/slog"
	"time"

	"kintsugi/meta"
)

// maxDeletes is the most keys of one DeleteObjects.
const maxDeletes = 1000

func (r *request) deleteObject() error {
	version, err := r.version()
	if err != nil {
		return err
	}
	condition, err := r.deleteCondition()
	if err != nil {
		return err
	}
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	ctx, cancel := r.context()
	defer cancel()
	deleted, err := r.server.config.Meta.DeleteObject(ctx, meta.DeleteObject{
		Bucket: r.bucket, Key: r.key, Version: version, Condition: condition, RequestID: r.id,
	})
	switch {
	case err == nil:
	case condition == (meta.Condition{}) && (errors.Is(err, meta.ErrNoSuchKey) || errors.Is(err, meta.ErrNoSuchVersion)):
		return r.empty(204) // what was to be gone is gone
	default:
		return conditional(err, condition)
	}
	h := r.respond(204)
	if deleted.DeleteMarker {
		h.Set("x-amz-delete-marker", "true")
	}
	if deleted.Versioned || version != nil {
		h.Set("x-amz-version-id", formatVersion(deleted.Version))
	}
	return nil
}

// conditional names the condition in the answer if it is why err happened.
func conditional(err error, c meta.Condition) error {
	if errors.Is(err, meta.ErrPrecondition) {
		return errPreconditionFailed.withField("Condition", conditionName(c))
	}
	return err
}

// deleteRequest is the document of DeleteObjects.
type deleteRequest struct {
	XMLName xml.Name           `xml:"Delete"`
	Quiet   bool               `xml:"Quiet"`
	Objects []deleteRequestKey `xml:"Object"`
}

type deleteRequestKey struct {
	Key              *string `xml:"Key"`
	VersionID        string  `xml:"VersionId"`
	ETag             string  `xml:"ETag"`
	LastModifiedTime string  `xml:"LastModifiedTime"`
	Size             *int64  `xml:"Size"`
}

// checkDeleteObjects demands a digest of the list: a flipped bit would delete something else.
func (r *request) checkDeleteObjects() error {
	if r.headers.has("content-md5") || r.headers.hasPrefix("x-amz-checksum-") || r.headers.has("x-amz-trailer") {
		return nil
	}
	return errInvalidRequest.withMessage("Missing required header for this request: Content-MD5")
}

func (r *request) deleteObjects() error {
	data, err := r.readAll(maxListBytes)
	if err != nil {
		return err
	}
	var list deleteRequest
	if err := parseXML(data, &list, "Object"); err != nil {
		return err
	}
	if len(list.Objects) == 0 || len(list.Objects) > maxDeletes {
		return errMalformedXML
	}
	ctx, cancel := r.context()
	defer cancel()
	if _, err := r.bucketRecord(ctx); err != nil {
		return err
	}
	results := make([]meta.DeleteResult, len(list.Objects))
	commands := make([]meta.DeleteObject, 0, len(list.Objects))
	indexes := make([]int, 0, len(list.Objects))
	for i := range list.Objects {
		command, err := list.Objects[i].command(r)
		if err != nil {
			results[i].Err = err
			continue
		}
		commands, indexes = append(commands, command), append(indexes, i)
	}
	done, err := r.server.config.Meta.DeleteObjects(ctx, r.bucket, commands)
	if err != nil {
		return err
	}
	for i, result := range done {
		results[indexes[i]] = result
	}
	return r.deleteResult(&list, results)
}

// command returns what the metadata is asked to do for one key.
func (k *deleteRequestKey) command(r *request) (meta.DeleteObject, error) {
	if k.Key == nil || *k.Key == "" {
		return meta.DeleteObject{}, errMalformedXML
	}
	if len(*k.Key) > maxKeyBytes {
		return meta.DeleteObject{}, errKeyTooLong
	}
	d := meta.DeleteObject{Bucket: r.bucket, Key: *k.Key, RequestID: r.id}
	if k.VersionID != "" {
		id, err := parseVersion(k.VersionID)
		if err != nil {
			return d, errNoSuchVersion
		}
		d.Version = &id
	}
	if k.ETag != "" {
		d.Condition.IfMatch = unquoteETag(k.ETag)
	}
	d.Condition.IfMatchSize = k.Size
	if k.LastModifiedTime != "" {
		t, ok := parseHTTPDate(k.LastModifiedTime)
		if !ok {
			return d, errInvalidArgument.withField("ArgumentName", "LastModifiedTime")
		}
		t = t.Truncate(time.Second)
		d.Condition.IfMatchModified = &t
	}
	return d, nil
}

func (r *request) deleteResult(list *deleteRequest, results []meta.DeleteResult) error {
	d := newDocument("DeleteResult")
	for i := range results {
		key, version := "", list.Objects[i].VersionID
		if k := list.Objects[i].Key; k != nil {
			key = *k
		}
		err := results[i].Err
		missing := errors.Is(err, meta.ErrNoSuchKey) || errors.Is(err, meta.ErrNoSuchVersion)
		if err == nil || missing && list.Objects[i].unconditional() {
			if !list.Quiet {
				deletedElement(d, key, version, results[i].Deleted)
			}
			continue
		}
		answer := answerTo(err)
		if answer.Code == errInternal.Code {
			r.server.config.Logger.Warn("delete failed", slog.String("request", r.id), slog.Any("error", err))
		}
		d.open("Error")
		d.text("Key", key)
		d.textIf("VersionId", version)
		d.text("Code", answer.Code)
		d.text("Message", answer.Message)
		d.close("Error")
	}
	d.close("DeleteResult")
	return r.document(200, d)
}

func (k *deleteRequestKey) unconditional() bool {
	return k.ETag == "" && k.Size == nil && k.LastModifiedTime == ""
}

func deletedElement(d *document, key, version string, deleted meta.Deleted) {
	d.open("Deleted")
	d.text("Key", key)
	d.textIf("VersionId", version)
	if deleted.DeleteMarker {
		d.bool("DeleteMarker", true)
		d.text("DeleteMarkerVersionId", formatVersion(deleted.Version))
	}
	d.close("Deleted")
}
