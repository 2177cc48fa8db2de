package gateway

import "kintsugi/meta"

func (r *request) getBucketLocation() error {
	if err := r.needBucket(); err != nil {
		return err
	}
	d := newDocument("LocationConstraint")
	if region := r.server.config.Region; region != defaultRegion {
		d.buf = appendEscaped(d.buf, region)
	}
	d.close("LocationConstraint")
	return r.document(200, d)
}

func (r *request) getBucketVersioning() error {
	ctx, cancel := r.context()
	defer cancel()
	b, err := r.bucketRecord(ctx)
	if err != nil {
		return err
	}
	d := newDocument("VersioningConfiguration")
	switch b.Versioning {
	case meta.VersioningEnabled:
		d.text("Status", "Enabled")
	case meta.VersioningSuspended:
		d.text("Status", "Suspended")
	}
	d.close("VersioningConfiguration")
	return r.document(200, d)
}

// versioningConfiguration is the document of PutBucketVersioning.
type versioningConfiguration struct {
	XMLName   struct{} `xml:"VersioningConfiguration"`
	Status    string   `xml:"Status"`
	MFADelete string   `xml:"MfaDelete"`
}

func (r *request) putBucketVersioning() error {
	data, err := r.readAll(maxConfigBytes)
	if err != nil {
		return err
	}
	var c versioningConfiguration
	if err := parseXML(data, &c); err != nil {
		return err
	}
	if c.MFADelete != "" && c.MFADelete != "Disabled" {
		return errNotImplemented.withField("Element", "MfaDelete")
	}
	var state meta.Versioning
	switch c.Status {
	case "Enabled":
		state = meta.VersioningEnabled
	case "Suspended":
		state = meta.VersioningSuspended
	case "":
		return errIllegalVersioning
	default:
		return errMalformedXML
	}
	if !validBucketName(r.bucket) {
		return errNoSuchBucket
	}
	ctx, cancel := r.context()
	defer cancel()
	if err := r.server.config.Meta.SetVersioning(ctx, r.bucket, state); err != nil {
		return err
	}
	return r.empty(200)
}

// unset are S3's answers to those who ask for what was never configured, by operation.
var unset = map[string]*s3Error{
	"GetBucketPolicy":                 {Code: "NoSuchBucketPolicy", Status: 404, Message: "The bucket policy does not exist"},
	"GetBucketPolicyStatus":           {Code: "NoSuchBucketPolicy", Status: 404, Message: "The bucket policy does not exist"},
	"GetBucketCors":                   {Code: "NoSuchCORSConfiguration", Status: 404, Message: "The CORS configuration does not exist"},
	"GetBucketLifecycleConfiguration": {Code: "NoSuchLifecycleConfiguration", Status: 404, Message: "The lifecycle configuration does not exist"},
	"GetBucketTagging":                {Code: "NoSuchTagSet", Status: 404, Message: "The TagSet does not exist"},
	"GetBucketWebsite":                {Code: "NoSuchWebsiteConfiguration", Status: 404, Message: "The specified bucket does not have a website configuration"},
	"GetBucketReplication":            {Code: "ReplicationConfigurationNotFoundError", Status: 404, Message: "The replication configuration was not found"},
	"GetBucketEncryption":             {Code: "ServerSideEncryptionConfigurationNotFoundError", Status: 404, Message: "The server side encryption configuration was not found"},
	"GetObjectLockConfiguration":      {Code: "ObjectLockConfigurationNotFoundError", Status: 404, Message: "Object Lock configuration does not exist for this bucket"},
	"GetBucketOwnershipControls":      {Code: "OwnershipControlsNotFoundError", Status: 404, Message: "The bucket ownership controls were not found"},
	"GetPublicAccessBlock":            {Code: "NoSuchPublicAccessBlockConfiguration", Status: 404, Message: "The public access block configuration was not found"},
	"GetObjectRetention":              {Code: "InvalidRequest", Status: 400, Message: "Bucket is missing Object Lock Configuration"},
	"GetObjectLegalHold":              {Code: "InvalidRequest", Status: 400, Message: "Bucket is missing Object Lock Configuration"},
}

func (r *request) getUnset() error {
	if err := r.needBucket(); err != nil {
		return err
	}
	return unset[r.route.name]
}

// getDefault answers configurations that every bucket has with S3's default.
func (r *request) getDefault() error {
	if err := r.needBucket(); err != nil {
		return err
	}
	root := map[string]string{
		"GetBucketAccelerateConfiguration":   "AccelerateConfiguration",
		"GetBucketRequestPayment":            "RequestPaymentConfiguration",
		"GetBucketLogging":                   "BucketLoggingStatus",
		"GetBucketNotificationConfiguration": "NotificationConfiguration",
	}[r.route.name]
	d := newDocument(root)
	if r.route.name == "GetBucketRequestPayment" {
		d.text("Payer", "BucketOwner")
	}
	d.close(root)
	return r.document(200, d)
}

// getACL reports the one access list there is: the owner may do everything.
func (r *request) getACL() error {
	if r.key != "" {
		if _, err := r.object(); err != nil {
			return err
		}
	} else if err := r.needBucket(); err != nil {
		return err
	}
	d := newDocument("AccessControlPolicy")
	r.ownerElement(d)
	d.open("AccessControlList")
	d.open("Grant")
	d.open(`Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"`)
	d.text("ID", r.auth.Identity.UserID)
	d.text("DisplayName", r.auth.Identity.DisplayName)
	d.close("Grantee")
	d.text("Permission", "FULL_CONTROL")
	d.close("Grant")
	d.close("AccessControlList")
	d.close("AccessControlPolicy")
	return r.document(200, d)
}
