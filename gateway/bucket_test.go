package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"kintsugi/meta"
)

func TestQuirk95ListBuckets(t *testing.T) {
	s := newTestServer(t)
	for _, name := range []string{"bbb", "aaa", "ccc"} {
		s.put("/"+name, "").wantHeader("Location", "/"+name)
	}
	all := s.get("/").want(200, "")
	if got := strings.Join(all.elements("Name"), " "); got != "aaa bbb ccc" {
		t.Errorf("buckets %s", got)
	}
	if len(all.elements("CreationDate")) != 3 || all.element("ID") != testOwner {
		t.Errorf("dates or owner are missing: %s", all.body)
	}
	first := s.get("/?max-buckets=2").want(200, "")
	token := first.element("ContinuationToken")
	if got := strings.Join(first.elements("Name"), " "); got != "aaa bbb" || token == "" {
		t.Fatalf("first page %s, token %q", got, token)
	}
	second := s.get("/?max-buckets=2&continuation-token="+token).want(200, "")
	if got := strings.Join(second.elements("Name"), " "); got != "ccc" || second.element("ContinuationToken") != "" {
		t.Errorf("second page %s", second.body)
	}
	if got := s.get("/?prefix=b").elements("Name"); len(got) != 1 || got[0] != "bbb" {
		t.Errorf("with a prefix: %s", got)
	}
	for _, bad := range []string{"0", "-1", "10001", "x"} {
		s.get("/?max-buckets="+bad).want(400, "InvalidArgument")
	}
	s.get("/?continuation-token=x").want(400, "InvalidArgument")
}

func TestQuirk129CreateBucketTwice(t *testing.T) {
	withBucket(t).do("PUT", "/bucket", "").want(200, "")
	elsewhere := withBucket(t, inRegion("eu-west-7"))
	elsewhere.do("PUT", "/bucket", "").want(409, "BucketAlreadyOwnedByYou")
}

func TestQuirk129ForeignBucket(t *testing.T) {
	s := newTestServer(t)
	s.foreignBucket("theirs")
	s.do("PUT", "/theirs", "").want(409, "BucketAlreadyExists")
}

func TestQuirk130LocationConstraint(t *testing.T) {
	body := func(region string) string {
		return `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>` + region + `</LocationConstraint></CreateBucketConfiguration>`
	}
	s := newTestServer(t)
	s.do("PUT", "/aaa", body("us-east-1")).want(400, "InvalidLocationConstraint")
	s.do("PUT", "/aaa", body("mars")).want(400, "InvalidLocationConstraint")
	s.do("PUT", "/aaa", "<x").want(400, "MalformedXML")
	s.head("/aaa").want(404, "")
	s.put("/aaa", body(""))
	elsewhere := newTestServer(t, inRegion("eu-west-7"))
	elsewhere.put("/bbb", body("eu-west-7"))
	elsewhere.do("PUT", "/ccc", body("us-east-1")).want(400, "InvalidLocationConstraint")
}

func TestQuirk131Location(t *testing.T) {
	s := withBucket(t)
	if got := s.get("/bucket?location").want(200, ""); !strings.HasSuffix(got.body, `<LocationConstraint xmlns="`+xmlNamespace+`"></LocationConstraint>`) {
		t.Errorf("us-east-1: %s", got.body)
	}
	elsewhere := withBucket(t, inRegion("eu-west-7"))
	if got := elsewhere.get("/bucket?location").element("LocationConstraint"); got != "eu-west-7" {
		t.Errorf("eu-west-7: %q", got)
	}
	s.get("/missing?location").want(404, "NoSuchBucket")
}

func TestQuirk132InvalidBucketName(t *testing.T) {
	s := newTestServer(t)
	for _, name := range []string{"Upper", "under_score", "ab", strings.Repeat("a", 64), "1.2.3.4", "a..b"} {
		s.do("PUT", "/"+name, "").want(400, "InvalidBucketName")
		s.get("/"+name).want(404, "NoSuchBucket")
		s.do("PUT", "/"+name+"/key", "x").want(404, "NoSuchBucket")
		s.del("/"+name).want(404, "NoSuchBucket")
		s.del("/"+name+"/key").want(404, "NoSuchBucket")
	}
}

func TestQuirk133HeadBucket(t *testing.T) {
	s := withBucket(t)
	for _, target := range []string{"/bucket", "/bucket/"} {
		s.head(target).want(200, "").wantHeader("x-amz-bucket-region", testRegion)
	}
	s.head("/missing").want(404, "")
}

func TestQuirk128DeleteBucket(t *testing.T) {
	s := withBucket(t)
	s.del("/missing").want(404, "NoSuchBucket")
	s.put("/bucket/key", "x")
	s.del("/bucket").want(409, "BucketNotEmpty")
	s.del("/bucket/key").want(204, "")
	s.del("/bucket").want(204, "")
	s.head("/bucket").want(404, "")
	s.do("PUT", "/bucket/key", "x").want(404, "NoSuchBucket")
}

func TestQuirk128DeleteBucketWithMarkers(t *testing.T) {
	s := withVersions(t)
	marker := s.del("/bucket/key").want(204, "").header.Get("x-amz-version-id")
	s.del("/bucket").want(409, "BucketNotEmpty")
	s.del("/bucket/key?versionId="+marker).want(204, "")
	s.del("/bucket").want(204, "")
}

func TestQuirk134UnsetConfigurations(t *testing.T) {
	s := withBucket(t)
	for sub, code := range map[string]string{
		"policy": "NoSuchBucketPolicy", "policyStatus": "NoSuchBucketPolicy", "cors": "NoSuchCORSConfiguration",
		"lifecycle": "NoSuchLifecycleConfiguration", "tagging": "NoSuchTagSet", "website": "NoSuchWebsiteConfiguration",
		"replication": "ReplicationConfigurationNotFoundError", "encryption": "ServerSideEncryptionConfigurationNotFoundError",
		"object-lock": "ObjectLockConfigurationNotFoundError", "ownershipControls": "OwnershipControlsNotFoundError",
		"publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
	} {
		s.get("/bucket?"+sub).want(404, code)
		s.get("/missing?"+sub).want(404, "NoSuchBucket")
	}
}

func TestQuirk135VersioningUnset(t *testing.T) {
	s := withBucket(t)
	got := s.get("/bucket?versioning").want(200, "")
	if !strings.Contains(got.body, "<VersioningConfiguration") || strings.Contains(got.body, "Status") {
		t.Errorf("got %s", got.body)
	}
	for _, status := range []string{"Enabled", "Suspended"} {
		s.put("/bucket?versioning", versioningBody(status))
		if got := s.get("/bucket?versioning").element("Status"); got != status {
			t.Errorf("got %q, want %q", got, status)
		}
	}
	s.do("PUT", "/bucket?versioning", versioningBody("Off")).want(400, "MalformedXML")
	s.do("PUT", "/bucket?versioning", versioningBody("")).want(400, "IllegalVersioningConfigurationException")
	s.do("PUT", "/missing?versioning", versioningBody("Enabled")).want(404, "NoSuchBucket")
}

func TestQuirk136Defaults(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	for target, want := range map[string]string{
		"/bucket?accelerate": "<AccelerateConfiguration", "/bucket?requestPayment": "<Payer>BucketOwner</Payer>",
		"/bucket?logging": "<BucketLoggingStatus", "/bucket?notification": "<NotificationConfiguration",
		"/bucket?acl": "<Permission>FULL_CONTROL</Permission>", "/bucket/key?acl": "<ID>" + testOwner + "</ID>",
	} {
		if got := s.get(target).want(200, ""); !strings.Contains(got.body, want) {
			t.Errorf("%s: %s", target, got.body)
		}
	}
	s.get("/bucket/missing?acl").want(404, "NoSuchKey")
}

func TestQuirk137UnsupportedWrites(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "before")
	for _, call := range []string{
		"PUT /bucket?policy", "PUT /bucket?cors", "PUT /bucket?lifecycle", "PUT /bucket?tagging", "PUT /bucket?acl",
		"PUT /bucket?encryption", "PUT /bucket?website", "PUT /bucket?inventory&id=1", "PUT /new-bucket?futureThing",
		"DELETE /bucket?policy", "DELETE /bucket?analytics&id=1", "POST /bucket?futureThing", "POST /bucket",
		"PUT /bucket/key?acl", "PUT /bucket/key?retention", "PUT /bucket/key?legal-hold", "PUT /bucket/key?futureThing",
		"POST /bucket/key?restore", "POST /bucket/key?select&select-type=2", "DELETE /bucket/key?futureThing",
		"GET /bucket/key?torrent", "GET /bucket?inventory", "PUT /bucket/key?renameObject",
	} {
		method, target, _ := strings.Cut(call, " ")
		if got := s.do(method, target, "<x/>"); got.status != http.StatusNotImplemented || got.code() != "NotImplemented" {
			t.Errorf("%s: %d %s", call, got.status, got.body)
		}
	}
	for _, call := range []string{
		"PUT /bucket/key?partNumber=1", "PUT /bucket/key?versionId=null", "POST /bucket/key?uploads&partNumber=1",
	} {
		method, target, _ := strings.Cut(call, " ")
		s.do(method, target, "<x/>").want(400, "InvalidArgument")
	}
	s.get("/bucket/key").want(200, "").wantBody("before")
	s.head("/new-bucket").want(404, "")
	s.do("PATCH", "/bucket/key", "x").want(405, "MethodNotAllowed")
	s.get("/bucket?acl&policy").want(400, "InvalidArgument")
}

func TestQuirk27ExpectedBucketOwner(t *testing.T) {
	s := withBucket(t)
	s.get("/bucket", "x-amz-expected-bucket-owner", testOwner).want(200, "")
	s.get("/bucket", "x-amz-expected-bucket-owner", "111122223333").want(403, "AccessDenied")
	s.do("PUT", "/bucket/key", "x", "x-amz-expected-bucket-owner", "111122223333").want(403, "AccessDenied")
	s.get("/bucket/key").want(404, "NoSuchKey")
}

func TestQuirk94BucketRegion(t *testing.T) {
	s := withBucket(t)
	s.get("/bucket?list-type=2").want(200, "").wantHeader("x-amz-bucket-region", testRegion)
}

func TestQuirk101VirtualHosts(t *testing.T) {
	s := withBucket(t, func(c *Config) { c.Domains = []string{"s3.example"} })
	s.put("/bucket/a/key", "body")
	s.get("/a/key", "Host", "bucket.s3.example").want(200, "").wantBody("body")
	s.get("/bucket/a/key", "Host", "s3.example").want(200, "").wantBody("body")
	s.get("/a/key", "Host", "missing.s3.example").want(404, "NoSuchBucket")
	s.put("/with.dots", "")
	s.do("PUT", "/key", "x", "Host", "with.dots.s3.example:9000").want(200, "")
	s.get("/with.dots/key").want(200, "").wantBody("x")
}

func versioningBody(status string) string {
	return `<VersioningConfiguration xmlns="` + xmlNamespace + `"><Status>` + status + `</Status></VersioningConfiguration>`
}

// foreignBucket makes a bucket of another owner.
func (s *testServer) foreignBucket(name string) {
	s.t.Helper()
	if err := s.meta.CreateBucket(s.t.Context(), meta.Bucket{Name: name, Owner: "someone else", Created: time.Now()}); err != nil {
		s.t.Fatal(err)
	}
}
