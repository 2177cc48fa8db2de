package gateway

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// completeDocument is the document of CompleteMultipartUpload.
type completeDocument struct {
	XMLName xml.Name     `xml:"CompleteMultipartUpload"`
	Parts   []listedPart `xml:"Part"`
}

// listedPart is a part as the client lists it. The checksums are optional.
type listedPart struct {
	Number    int    `xml:"PartNumber"`
	ETag      string `xml:"ETag"`
	CRC32     string `xml:"ChecksumCRC32"`
	CRC32C    string `xml:"ChecksumCRC32C"`
	CRC64NVME string `xml:"ChecksumCRC64NVME"`
	SHA1      string `xml:"ChecksumSHA1"`
	SHA256    string `xml:"ChecksumSHA256"`
}

// given returns the checksum of algorithm a that the client lists, "" if none.
func (p *listedPart) given(a meta.ChecksumAlgorithm) string {
	return [...]string{
		meta.CRC32: p.CRC32, meta.CRC32C: p.CRC32C, meta.CRC64NVME: p.CRC64NVME, meta.SHA1: p.SHA1, meta.SHA256: p.SHA256,
	}[a]
}

// completeUpload makes an object of the listed parts. No data is moved: one command makes it visible.
func (r *request) completeUpload() error {
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	condition, err := r.writeCondition()
	if err != nil {
		return err
	}
	listed, err := r.readParts()
	if err != nil {
		return err
	}
	ctx, cancel := r.context()
	defer cancel()
	complete, err := r.assemble(ctx, listed)
	if err != nil {
		return err
	}
	complete.Condition = condition
	put, err := r.server.config.Meta.CompleteUpload(ctx, complete)
	if err != nil {
		return conditional(err, condition)
	}
	return r.answerComplete(put, len(listed))
}

// readParts reads the list of parts. A checksum in the header is that of the object, not of this document.
func (r *request) readParts() ([]listedPart, error) {
	data, err := io.ReadAll(io.LimitReader(r.body, maxListBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxListBytes {
		return nil, errMalformedXML.withMessage("The document is too large.")
	}
	var document completeDocument
	if err := parseXML(data, &document, "Part"); err != nil {
		return nil, err
	}
	parts := document.Parts
	if len(parts) == 0 || len(parts) > maxParts {
		return nil, errMalformedXML
	}
	for i := range parts {
		parts[i].ETag = unquoteETag(parts[i].ETag)
		switch {
		case parts[i].Number < 1 || parts[i].Number > maxParts:
			return nil, errInvalidArgument.withMessage("PartNumber must be >= 1 and <= 10000").withField("ArgumentName", "partNumber")
		case i > 0 && parts[i].Number <= parts[i-1].Number:
			return nil, errInvalidPartOrder.withField("UploadId", r.query.get("uploadId"))
		}
	}
	return parts, nil
}

// assemble makes the command from the listed parts. Where the upload is gone it may have been completed
// by this very list: the command then asks for that outcome.
func (r *request) assemble(ctx context.Context, listed []listedPart) (meta.CompleteUpload, error) {
	id := r.query.get("uploadId")
	complete := meta.CompleteUpload{Bucket: r.bucket, Key: r.key, UploadID: id, RequestID: r.id, MinPartSize: minPartBytes}
	var parts []meta.Part
	upload, uploaded, err := r.uploadedParts(ctx)
	switch {
	case errors.Is(err, meta.ErrNoSuchUpload):
		for i := range listed {
			parts = append(parts, meta.Part{Number: listed[i].Number, ETag: listed[i].ETag})
		}
	case err != nil:
		return complete, err
	default:
		if parts, err = r.matchParts(uploaded, listed); err != nil {
			return complete, err
		}
		if complete.Checksum, err = r.wholeChecksum(upload, parts); err != nil {
			return complete, err
		}
		if err := r.checkObjectSize(parts); err != nil {
			return complete, err
		}
	}
	for i := range parts {
		complete.Parts = append(complete.Parts, meta.CompletedPart{Number: parts[i].Number, ETag: parts[i].ETag, Checksum: parts[i].Checksum})
	}
	if complete.ETag, err = checksum.MultipartETag(parts); err != nil {
		return complete, errInvalidPart.withField("UploadId", id)
	}
	return complete, nil
}

// uploadedParts returns the open upload and its parts.
func (r *request) uploadedParts(ctx context.Context) (meta.Upload, []meta.Part, error) {
	upload, err := r.openUpload(ctx)
	if err != nil {
		return upload, nil, err
	}
	parts, _, err := r.server.config.Meta.Parts(ctx, r.bucket, r.key, upload.ID, 0, 0)
	return upload, parts, err
}

// matchParts finds the uploaded parts that the client lists; both are in order.
func (r *request) matchParts(uploaded []meta.Part, listed []listedPart) ([]meta.Part, error) {
	parts := make([]meta.Part, 0, len(listed))
	for i := range listed {
		for len(uploaded) > 0 && uploaded[0].Number < listed[i].Number {
			uploaded = uploaded[1:]
		}
		if len(uploaded) == 0 || uploaded[0].Number != listed[i].Number || !listed[i].matches(&uploaded[0]) {
			return nil, errInvalidPart.withField("UploadId", r.query.get("uploadId")).
				withField("PartNumber", formatInt(listed[i].Number)).withField("ETag", listed[i].ETag)
		}
		parts = append(parts, uploaded[0])
	}
	for i := range parts[:len(parts)-1] {
		if p := &parts[i]; p.Size < minPartBytes {
			return nil, errEntityTooSmall.withField("ProposedSize", strconv.FormatInt(p.Size, 10)).
				withField("MinSizeAllowed", formatInt(minPartBytes)).
				withField("PartNumber", formatInt(p.Number)).withField("ETag", p.ETag)
		}
	}
	return parts, nil
}

// matches tells whether the uploaded part is the one that the client means.
func (p *listedPart) matches(uploaded *meta.Part) bool {
	if !strings.EqualFold(p.ETag, uploaded.ETag) {
		return false
	}
	for a := meta.CRC32; a <= meta.SHA256; a++ {
		if given := p.given(a); given != "" && (a != uploaded.Checksum.Algorithm || given != checksum.String(uploaded.Checksum, 0)) {
			return false
		}
	}
	return true
}

// wholeChecksum computes the object's checksum and compares it with the one that the client sends.
// Where the client chose no algorithm it follows from what the parts have in common, if anything.
func (r *request) wholeChecksum(upload meta.Upload, parts []meta.Part) (meta.Checksum, error) {
	algorithm, composite := upload.Algorithm, upload.Composite
	chosen := algorithm != meta.NoChecksum
	if !chosen {
		algorithm = parts[0].Checksum.Algorithm
		composite = algorithm == meta.SHA1 || algorithm == meta.SHA256
	}
	if wish := r.headers.get("x-amz-checksum-type"); wish != "" && !strings.EqualFold(wish, checksum.Type(meta.Checksum{Composite: composite})) {
		return meta.Checksum{}, errInvalidRequest.withMessage("The upload was created using the " + checksum.Type(meta.Checksum{Composite: composite}) +
			" checksum mode. The complete request must use the same checksum mode.")
	}
	sum, err := checksum.Multipart(algorithm, composite, parts)
	if err != nil && chosen {
		return sum, fmt.Errorf("parts of upload %s: %w", upload.ID, err)
	}
	if err != nil {
		sum = meta.Checksum{}
	}
	for a := meta.CRC32; a <= meta.SHA256; a++ {
		given := r.headers.get(checksum.Header(a))
		if given == "" {
			continue
		}
		value, _, _ := strings.Cut(given, "-")
		if _, ok := checksum.Decode(a, value); !ok {
			return sum, errInvalidRequest.withMessage("Value for " + checksum.Header(a) + " header is invalid.")
		}
		bare := checksum.String(meta.Checksum{Value: sum.Value}, 0) // some leave the number of parts out
		if a != sum.Algorithm || given != checksum.String(sum, len(parts)) && given != bare {
			return sum, checksum.Mismatch(a)
		}
	}
	return sum, nil
}

// checkObjectSize compares the object's size with the one that the client states.
func (r *request) checkObjectSize(parts []meta.Part) error {
	text, ok := r.headers.lookup("x-amz-mp-object-size")
	if !ok {
		return nil
	}
	var size int64
	for i := range parts {
		size += parts[i].Size
	}
	stated, err := strconv.ParseInt(text, 10, 64)
	if err != nil || stated < 0 {
		return errInvalidRequest.withMessage("Value for x-amz-mp-object-size header is invalid.")
	}
	if stated != size {
		return errInvalidRequest.withMessage("The provided 'x-amz-mp-object-size' header value " + text +
			" does not match what was computed: " + strconv.FormatInt(size, 10))
	}
	return nil
}

func (r *request) answerComplete(put meta.Put, parts int) error {
	scheme := "http://"
	if r.ctx.IsTLS() {
		scheme = "https://"
	}
	d := newDocument("CompleteMultipartUploadResult")
	d.text("Location", scheme+r.host+r.path)
	d.text("Bucket", r.bucket)
	d.text("Key", r.key)
	d.etag(put.ETag)
	d.checksum(put.Checksum, parts)
	d.checksumType(put.Checksum)
	d.close("CompleteMultipartUploadResult")
	err := r.document(200, d)
	if put.Versioned {
		r.ctx.Response.Header.Set("x-amz-version-id", formatVersion(put.Version))
	}
	return err
}
