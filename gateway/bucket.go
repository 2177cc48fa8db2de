package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"kintsugi/meta"
)

// defaultRegion is the one whose name S3 leaves out and whose buckets may be created again.
const defaultRegion = "us-east-1"

func (r *request) listBuckets() error {
	limit := 10_000
	if text, ok := r.query.lookup("max-buckets"); ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > limit {
			return errInvalidArgument.withMessage("Argument max-buckets must be an integer between 1 and 10000").
				withField("ArgumentName", "max-buckets").withField("ArgumentValue", text)
		}
		limit = n
	}
	after, err := parseToken(r.query)
	if err != nil {
		return err
	}
	prefix := r.query.get("prefix")
	var buckets []meta.Bucket
	more := false
	if region := r.query.get("bucket-region"); region == "" || region == r.server.config.Region {
		ctx, cancel := r.context()
		defer cancel()
		if buckets, more, err = r.server.config.Meta.Buckets(ctx, prefix, after, limit); err != nil {
			return err
		}
	}
	return r.bucketList(buckets, more, prefix)
}

func (r *request) bucketList(buckets []meta.Bucket, more bool, prefix string) error {
	d := newDocument("ListAllMyBucketsResult")
	r.ownerElement(d)
	d.open("Buckets")
	for i := range buckets {
		d.open("Bucket")
		d.text("Name", buckets[i].Name)
		d.time("CreationDate", buckets[i].Created)
		d.text("BucketRegion", r.server.config.Region)
		d.close("Bucket")
	}
	d.close("Buckets")
	d.textIf("Prefix", prefix)
	if more && len(buckets) > 0 {
		d.text("ContinuationToken", formatToken(buckets[len(buckets)-1].Name))
	}
	d.close("ListAllMyBucketsResult")
	return r.document(200, d)
}

func (r *request) ownerElement(d *document) {
	d.open("Owner")
	d.text("ID", r.auth.Identity.UserID)
	d.text("DisplayName", r.auth.Identity.DisplayName)
	d.close("Owner")
}

// createBucketConfiguration is the document of CreateBucket.
type createBucketConfiguration struct {
	XMLName            struct{} `xml:"CreateBucketConfiguration"`
	LocationConstraint string   `xml:"LocationConstraint"`
}

func (r *request) createBucket() error {
	if !validBucketName(r.bucket) {
		return errInvalidBucketName
	}
	if err := r.checkOwnership(); err != nil {
		return err
	}
	if r.headers.get("x-amz-bucket-object-lock-enabled") == "true" {
		return errNotImplemented.withField("Header", "x-amz-bucket-object-lock-enabled")
	}
	if err := r.readLocation(); err != nil {
		return err
	}
	consistency, _, err := r.parseConsistency()
	if err != nil {
		return err
	}
	ctx, cancel := r.context()
	defer cancel()
	err = r.server.config.Meta.CreateBucket(ctx, meta.Bucket{
		Name: r.bucket, Owner: r.owner(), Created: r.server.config.Now(), Consistency: consistency,
	})
	if errors.Is(err, meta.ErrBucketExists) {
		return r.bucketTaken(ctx, err)
	}
	if err != nil {
		return err
	}
	r.respond(200).Set("Location", "/"+r.bucket)
	return nil
}

// readLocation checks the region that CreateBucket asks for: ours, or none.
func (r *request) readLocation() error {
	data, err := r.readAll(maxConfigBytes)
	if err != nil || len(data) == 0 {
		return err
	}
	var c createBucketConfiguration
	if err := parseXML(data, &c, "Tag"); err != nil {
		return err
	}
	if c.LocationConstraint != "" && (c.LocationConstraint != r.server.config.Region || c.LocationConstraint == defaultRegion) {
		return errInvalidLocation.withField("LocationConstraint", c.LocationConstraint)
	}
	return nil
}

// bucketTaken answers a CreateBucket for a name in use. As in S3, in the default region the owner may repeat himself.
func (r *request) bucketTaken(ctx context.Context, cause error) error {
	b, err := r.server.config.Meta.Bucket(ctx, r.bucket, meta.Linearizable)
	switch {
	case err != nil:
		return cause
	case b.Owner != r.owner():
		return errBucketAlreadyExists
	case r.server.config.Region != defaultRegion:
		return errBucketAlreadyOwnedByYou
	}
	r.respond(200).Set("Location", "/"+r.bucket)
	return nil
}

// validBucketName tells whether S3 takes name for a bucket.
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
func validBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 {
		return false
	}
	digits, dots := true, 0
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z':
			digits = false
		case '0' <= c && c <= '9':
		case c == '-' || c == '.':
			if i == 0 || i == len(name)-1 || c == '.' && name[i-1] == '.' {
				return false
			}
			if c == '.' {
				dots++
			} else {
				digits = false
			}
		default:
			return false
		}
	}
	address := digits && dots == 3
	return !address && !strings.HasPrefix(name, "xn--") && !strings.HasPrefix(name, "sthree-") &&
		!strings.HasSuffix(name, "-s3alias") && !strings.HasSuffix(name, "--ol-s3")
}

// bucketRecord returns the request's bucket. A name that no bucket can have is not looked up.
func (r *request) bucketRecord(ctx context.Context) (meta.Bucket, error) {
	if !validBucketName(r.bucket) {
		return meta.Bucket{}, errNoSuchBucket
	}
	return r.server.config.Meta.Bucket(ctx, r.bucket, meta.Linearizable)
}

// expectBucket fails where the bucket does not exist, for requests whose commit makes sure of it anyway: that any
// replica has it will do, and only one that does not is worth a question to the leader.
func (r *request) expectBucket(ctx context.Context) error {
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	if _, err := r.server.config.Meta.Bucket(ctx, r.bucket, meta.Eventual); err == nil {
		return nil
	}
	_, err := r.bucketRecord(ctx)
	return err
}

// needBucket fails unless the bucket exists.
func (r *request) needBucket() error {
	ctx, cancel := r.context()
	defer cancel()
	_, err := r.bucketRecord(ctx)
	return err
}

// checkOwner holds the bucket's owner against the one that the client expects.
func (r *request) checkOwner() error {
	expected, ok := r.headers.lookup("x-amz-expected-bucket-owner")
	if !ok || r.bucket == "" || r.route.name == "CreateBucket" {
		return nil
	}
	ctx, cancel := r.context()
	defer cancel()
	b, err := r.bucketRecord(ctx)
	if err != nil {
		return err
	}
	if b.Owner != expected {
		return errAccessDenied
	}
	return nil
}

func (r *request) headBucket() error {
	ctx, cancel := r.context()
	defer cancel()
	b, err := r.bucketRecord(ctx)
	if err != nil {
		return err
	}
	h := r.respond(200)
	h.SetContentType("application/xml")
	if b.Consistency == meta.Eventual {
		h.Set(consistencyHeader, "eventual")
	}
	h.Set("x-amz-bucket-region", r.server.config.Region)
	return nil
}

func (r *request) deleteBucket() error {
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	ctx, cancel := r.context()
	defer cancel()
	if err := r.server.config.Meta.DeleteBucket(ctx, r.bucket); err != nil {
		return err
	}
	return r.empty(204)
}

// tokenVersion leads a continuation token; who changes its form counts it up.
const tokenVersion = "1"

// formatToken makes the opaque token that continues after a name.
func formatToken(after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenVersion + after))
}

// parseToken returns the name after which the query's continuation-token continues, "" without one.
func parseToken(q query) (string, error) {
	text, ok := q.lookup("continuation-token")
	if !ok {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	after, current := strings.CutPrefix(string(raw), tokenVersion)
	if err != nil || !current || formatToken(after) != text {
		return "", errInvalidArgument.withMessage("The continuation token provided is incorrect").
			withField("ArgumentName", "continuation-token").withField("ArgumentValue", text)
	}
	return after, nil
}
