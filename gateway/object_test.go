package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sizes are those at which the way that a body is kept changes.
var sizes = []int{0, 1, 4095, 16 << 10, 16<<10 + 1, 128 << 10, 1<<20 + 7}

func TestPutGet(t *testing.T) {
	s := withBucket(t)
	for _, size := range sizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			body := pattern(size)
			etag := s.put("/bucket/key", body).header.Get("ETag")
			got := s.get("/bucket/key").want(200, "").wantBody(body).wantHeader("ETag", etag).wantHeader("Content-Length", fmt.Sprint(size))
			if got.header.Get("Content-Range") != "" {
				t.Error("a whole object has a Content-Range")
			}
			s.head("/bucket/key").want(200, "").wantHeader("Content-Length", fmt.Sprint(size)).wantHeader("ETag", etag)
			if size > 2 {
				s.get("/bucket/key", "Range", fmt.Sprintf("bytes=1-%d", size-2)).want(206, "").wantBody(body[1 : size-1])
			}
		})
	}
}

func TestPutLarge(t *testing.T) {
	s := withBucket(t)
	body := pattern(9<<20 + 3)
	s.put("/bucket/key", body)
	s.get("/bucket/key").want(200, "").wantBody(body)
	at := 8<<20 - 10
	s.get("/bucket/key", "Range", fmt.Sprintf("bytes=%d-%d", at, at+19)).want(206, "").wantBody(body[at : at+20])
	for id, drive := range s.cluster.drives { // two of six drives die
		if id[0] <= 2 {
			drive.Fail()
		}
	}
	s.get("/bucket/key").want(200, "").wantBody(body)
	s.put("/bucket/key2", body)
	s.get("/bucket/key2").want(200, "").wantBody(body)
}

func TestQuirk40ETag(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "hello").wantHeader("ETag", `"5d41402abc4b2a76b9719d911017c592"`)
	s.put("/bucket/empty", "").wantHeader("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
}

func TestQuirk35DefaultChecksum(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "hello").wantHeader("x-amz-checksum-crc64nvme", "M3eFcAZSQlc=").wantHeader("x-amz-checksum-type", "FULL_OBJECT")
	big := s.put("/bucket/big", pattern(100_000)).header.Get("x-amz-checksum-crc64nvme")
	s.head("/bucket/big", "x-amz-checksum-mode", "ENABLED").want(200, "").wantHeader("x-amz-checksum-crc64nvme", big)
}

func TestQuirk36ChecksumMode(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "abcdefg", "x-amz-checksum-crc32", "MSpqpg==").wantHeader("x-amz-checksum-crc32", "MSpqpg==")
	s.get("/bucket/key").want(200, "").wantHeader("x-amz-checksum-crc32", "")
	s.get("/bucket/key", "x-amz-checksum-mode", "ENABLED").want(200, "").wantHeader("x-amz-checksum-crc32", "MSpqpg==").wantHeader("x-amz-checksum-type", "FULL_OBJECT")
	s.get("/bucket/key", "x-amz-checksum-mode", "ENABLED", "Range", "bytes=0-1").want(206, "").wantHeader("x-amz-checksum-crc32", "")
}

func TestQuirk29To34Digests(t *testing.T) {
	s := withBucket(t)
	tests := []struct {
		name    string
		headers []string
		code    string
		message string
	}{
		{"29 MD5 is not base64", []string{"Content-MD5", "x"}, "InvalidDigest", ""},
		{"29 MD5 is short", []string{"Content-MD5", "YWJj"}, "InvalidDigest", ""},
		{"30 MD5 mismatch", []string{"Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg=="}, "BadDigest", ""},
		{"31 crc32", []string{"x-amz-checksum-crc32", "AAAAAA=="}, "BadDigest", "The crc32 you specified did not match the calculated checksum."},
		{"31 crc32c", []string{"x-amz-checksum-crc32c", "AAAAAA=="}, "BadDigest", "The crc32c you specified did not match the calculated checksum."},
		{"31 crc64nvme", []string{"x-amz-checksum-crc64nvme", "AAAAAAAAAAA="}, "BadDigest", "The crc64nvme you specified did not match the calculated checksum."},
		{"31 sha1", []string{"x-amz-checksum-sha1", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="}, "BadDigest", "The sha1 you specified did not match the calculated checksum."},
		{"31 sha256", []string{"x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}, "BadDigest", "The sha256 you specified did not match the calculated checksum."},
		{"32 not base64", []string{"x-amz-checksum-crc32", "x"}, "InvalidRequest", "Value for x-amz-checksum-crc32 header is invalid."},
		{"32 wrong length", []string{"x-amz-checksum-crc32", "AAAAAAAAAAA="}, "InvalidRequest", "Value for x-amz-checksum-crc32 header is invalid."},
		{"33 two of them", []string{"x-amz-checksum-crc32", "MSpqpg==", "x-amz-checksum-crc32c", "5if0QQ=="}, "InvalidRequest", ""},
		{"34 algorithm without value", []string{"x-amz-sdk-checksum-algorithm", "CRC32"}, "InvalidRequest", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, body := range []string{"abcdefg", pattern(50_000)} {
				got := s.do("PUT", "/bucket/key", body, test.headers...).want(400, test.code)
				if test.message != "" && got.element("Message") != test.message {
					t.Errorf("message %q", got.element("Message"))
				}
			}
			s.get("/bucket/key").want(404, "NoSuchKey")
		})
	}
	s.removals.Wait()
	if n := s.cluster.shards(t); n != 0 {
		t.Errorf("refused bodies left %d shards", n)
	}
}

func TestQuirk41To45ReadConditions(t *testing.T) {
	s := withBucket(t)
	etag := s.put("/bucket/key", "x").header.Get("ETag")
	past, future := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	tests := []struct {
		name    string
		headers []string
		status  int
	}{
		{"41 If-Match miss", []string{"If-Match", `"other"`}, 412},
		{"41 If-Match hit", []string{"If-Match", etag}, 200},
		{"42 If-None-Match hit", []string{"If-None-Match", etag}, 304},
		{"42 If-None-Match miss", []string{"If-None-Match", `"other"`}, 200},
		{"43 ETag outweighs date", []string{"If-Match", etag, "If-Unmodified-Since", past}, 200},
		{"43 date alone", []string{"If-Unmodified-Since", past}, 412},
		{"44 hit though modified", []string{"If-None-Match", etag, "If-Modified-Since", past}, 304},
		{"44 miss though not modified", []string{"If-None-Match", `"other"`, "If-Modified-Since", future}, 200},
		{"44 not modified", []string{"If-Modified-Since", future}, 304},
		{"45 unquoted", []string{"If-None-Match", strings.Trim(etag, `"`)}, 304},
		{"45 any", []string{"If-Match", "*"}, 200},
		{"bad date is ignored", []string{"If-Modified-Since", "yesterday"}, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			code := ""
			if test.status == 412 {
				code = "PreconditionFailed"
			}
			got := s.get("/bucket/key", test.headers...).want(test.status, code)
			if test.status == 304 {
				got.wantHeader("ETag", etag).wantBody("")
				if got.header.Get("Last-Modified") == "" {
					t.Error("304 without Last-Modified")
				}
			}
			s.head("/bucket/key", test.headers...).want(test.status, "")
		})
	}
	if got := s.get("/bucket/key", "If-Match", "x").element("Error", "Condition"); got != "If-Match" {
		t.Errorf("row 41: condition %q", got)
	}
}

func TestQuirk46To52WriteConditions(t *testing.T) {
	s := withBucket(t)
	for _, size := range []int{3, 50_000, 2 << 20} {
		target := fmt.Sprintf("/bucket/%d", size)
		body, other := pattern(size), pattern(size+1)
		s.do("PUT", target, body, "If-Match", "*").want(404, "NoSuchKey")                             // 50
		s.do("PUT", target, body, "If-Match", `"x"`).want(404, "NoSuchKey")                           // 50
		etag := s.put(target, body, "If-None-Match", "*").header.Get("ETag")                          // 46
		s.do("PUT", target, other, "If-None-Match", "*").want(412, "PreconditionFailed")              // 46
		s.do("PUT", target, other, "If-None-Match", `"x"`).want(501, "NotImplemented")                // 47
		s.do("PUT", target, other, "If-None-Match", "*", "If-Match", "*").want(501, "NotImplemented") // 48
		s.do("PUT", target, other, "If-Match", `"x"`).want(412, "PreconditionFailed")                 // 49
		s.get(target).want(200, "").wantBody(body)
		s.put(target, other, "If-Match", etag)
		s.get(target).want(200, "").wantBody(other)
	}
}

func TestQuirk51Race(t *testing.T) {
	s := withBucket(t)
	const clients = 16
	for round := range 5 {
		statuses := make(chan int, clients)
		for c := range clients {
			go func() {
				body := fmt.Sprint("client ", c)
				r := s.request("PUT", fmt.Sprintf("/bucket/key-%d", round), body, "If-None-Match", "*")
				s.sign(r, body)
				statuses <- s.send(r).status
			}()
		}
		won := 0
		for range clients {
			switch status := <-statuses; status {
			case 200:
				won++
			case 412, 409:
			default:
				t.Errorf("status %d", status)
			}
		}
		if won != 1 {
			t.Errorf("%d of %d clients created the key", won, clients)
		}
	}
}

func TestQuirk52MarkerIsAbsent(t *testing.T) {
	s := withVersions(t)
	s.put("/bucket/key", "x")
	s.del("/bucket/key").want(204, "")
	s.do("PUT", "/bucket/key", "z", "If-Match", "*").want(404, "NoSuchKey")
	s.put("/bucket/key", "y", "If-None-Match", "*")
	s.get("/bucket/key").want(200, "").wantBody("y")
}

func TestQuirk60PresignedCondition(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	target := s.presign("PUT", "/bucket/key", "If-None-Match", "*")
	s.anonymous("PUT", target, "y", "If-None-Match", "*").want(412, "PreconditionFailed")
}

func TestQuirk61To66Ranges(t *testing.T) {
	s := withBucket(t)
	small, large := "0123456789", pattern(300_000)
	s.put("/bucket/small", small)
	s.put("/bucket/large", large)
	s.get("/bucket/small", "Range", "bytes=0-4").want(206, "").wantBody("01234").wantHeader("Content-Range", "bytes 0-4/10").wantHeader("Content-Length", "5")
	s.head("/bucket/small", "Range", "bytes=0-4").want(206, "").wantHeader("Content-Length", "5")
	s.get("/bucket/small", "Range", "bytes=5-99").want(206, "").wantBody("56789")
	s.get("/bucket/small", "Range", "bytes=-99").want(206, "").wantBody(small)
	refused := s.get("/bucket/small", "Range", "bytes=10-").want(416, "InvalidRange").wantHeader("Content-Range", "bytes */10")
	if refused.element("ActualObjectSize") != "10" || refused.element("RangeRequested") != "bytes=10-" {
		t.Errorf("row 64: %s", refused.body)
	}
	s.get("/bucket/small", "Range", "bytes=4-1").want(200, "").wantBody(small).wantHeader("Content-Range", "")
	s.get("/bucket/small", "Range", "bytes=0-0,2-3").want(200, "").wantBody(small)
	s.get("/bucket/large", "Range", "bytes=-3").want(206, "").wantBody(large[len(large)-3:])
	s.get("/bucket/large", "Range", "bytes=70000-200000").want(206, "").wantBody(large[70000:200001])
	s.put("/bucket/empty", "")
	s.get("/bucket/empty", "Range", "bytes=0-").want(416, "InvalidRange")
	s.get("/bucket/small", "Range", "bytes=0-4", "If-Range", `"other"`).want(200, "").wantBody(small)
}

func TestQuirk67To69PartNumber(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "0123456789")
	s.get("/bucket/key?partNumber=1", "Range", "bytes=0-1").want(400, "InvalidRequest")
	s.get("/bucket/key?partNumber=1").want(206, "").wantBody("0123456789").wantHeader("x-amz-mp-parts-count", "")
	s.head("/bucket/key?partNumber=1").want(206, "").wantHeader("Content-Length", "10")
	s.get("/bucket/key?partNumber=2").want(416, "InvalidPartNumber")
	s.get("/bucket/key?partNumber=0").want(400, "InvalidArgument")
	s.get("/bucket/key?partNumber=x").want(400, "InvalidArgument")
}

func TestQuirk70ResponseOverrides(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x", "Content-Type", "text/plain")
	query := "?response-content-type=a/b&response-content-disposition=attachment%3B%20filename%3Dx&response-cache-control=no-cache&response-content-language=de&response-expires=never&response-content-encoding=gzip"
	s.get("/bucket/key"+query).want(200, "").wantHeader("Content-Type", "a/b").wantHeader("Content-Disposition", "attachment; filename=x").
		wantHeader("Cache-Control", "no-cache").wantHeader("Content-Language", "de").wantHeader("Expires", "never").wantHeader("Content-Encoding", "gzip")
	s.anonymous("GET", "/bucket/key"+query, "").want(400, "InvalidRequest")
	s.get("/bucket/key?response-content-type=a%0D%0Ax:y").want(400, "InvalidArgument") // security 34
}

func TestQuirk71Headers(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	for _, method := range []string{"GET", "HEAD"} {
		got := s.do(method, "/bucket/key", "").want(200, "").wantHeader("Accept-Ranges", "bytes").wantHeader("Content-Type", "binary/octet-stream").wantHeader("Content-Length", "1")
		if _, err := time.Parse(http.TimeFormat, got.header.Get("Last-Modified")); err != nil {
			t.Error(err)
		}
	}
	headers := []string{"Content-Type", "text/x; charset=utf-8", "Content-Encoding", "gzip", "Content-Disposition", "inline",
		"Content-Language", "de", "Cache-Control", "max-age=3", "Expires", "Thu, 01 Dec 2030 16:00:00 GMT",
		"X-Amz-Website-Redirect-Location", "/other", "X-Amz-Storage-Class", "STANDARD_IA"}
	s.put("/bucket/key", "x", headers...)
	got := s.head("/bucket/key").want(200, "")
	for i := 0; i < len(headers); i += 2 {
		got.wantHeader(headers[i], headers[i+1])
	}
	s.do("PUT", "/bucket/key", "x", "x-amz-storage-class", "GLACIER").want(400, "InvalidStorageClass")
}

func TestQuirk72Bytes(t *testing.T) {
	s := withBucket(t)
	body := "<html>" + strings.Repeat("compressible ", 500)
	s.put("/bucket/key", body)
	s.get("/bucket/key", "Accept-Encoding", "gzip, br").want(200, "").wantBody(body).wantHeader("Content-Encoding", "").wantHeader("Content-Type", "binary/octet-stream")
}

func TestQuirk73Metadata(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x", "X-Amz-Meta-Some-Name", "Mixed  CASE value", "x-amz-meta-umlaut", "=?UTF-8?Q?=C3=BC?=")
	got := s.head("/bucket/key").want(200, "").wantHeader("x-amz-meta-some-name", "Mixed  CASE value")
	if value := got.header.Get("x-amz-meta-umlaut"); decodeWord(value) != "ü" {
		t.Errorf("non-ASCII value came back as %q", value)
	}
	s.do("PUT", "/bucket/big", "x", "x-amz-meta-a", strings.Repeat("v", maxUserBytes)).want(400, "MetadataTooLarge")
	s.put("/bucket/big", "x", "x-amz-meta-a", strings.Repeat("v", maxUserBytes-1))
}

func TestQuirk74And75Missing(t *testing.T) {
	s := withBucket(t)
	missing := s.get("/bucket/missing").want(404, "NoSuchKey")
	if missing.element("Resource") != "/bucket/missing" || missing.element("Key") != "missing" {
		t.Errorf("got %s", missing.body)
	}
	missing.wantHeader("Content-Type", "application/xml")
	s.head("/bucket/missing").want(404, "")
	s.get("/nowhere/key").want(404, "NoSuchBucket")
	s.head("/nowhere/key").want(404, "")
	s.do("PUT", "/nowhere/key", "x").want(404, "NoSuchBucket")
	s.do("PUT", "/nowhere/key", pattern(100_000)).want(404, "NoSuchBucket")
	s.removals.Wait()
	if n := s.cluster.shards(t); n != 0 {
		t.Errorf("a refused body left %d shards", n)
	}
}

func TestQuirk96Keys(t *testing.T) {
	s := withBucket(t)
	keys := []string{"a//b", "/a", "a/./b", "a/../b", "..", ".", "dir/", " ", "🙂", "a+b", "a%41", "a&b=c", "urn:oid:1", `a\b`, "#?*", "a\u00a0b", "e\u0301", "~", "a/b%2Fc", "'\"<>"}
	for _, key := range keys {
		target := "/bucket/" + strings.ReplaceAll(url.PathEscape(key), "%2F", "/")
		s.put(target, "body of "+key)
	}
	for _, key := range keys {
		target := "/bucket/" + url.PathEscape(key)
		s.get(target).want(200, "").wantBody("body of " + key)
	}
	got, _ := s.pages("max-keys=3")
	slices.Sort(keys)
	if !slices.Equal(got, keys) {
		t.Errorf("listed %q, put %q", got, keys)
	}
}

func TestQuirk97KeyLength(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/"+strings.Repeat("k", 1024), "x")
	s.do("PUT", "/bucket/"+strings.Repeat("k", 1025), "x").want(400, "KeyTooLongError")
	s.do("PUT", "/bucket/"+strings.Repeat("%C3%A9", 513), "x").want(400, "KeyTooLongError")
}

func TestQuirk98InvalidKey(t *testing.T) {
	withBucket(t).do("PUT", "/bucket/%ff", "x").want(400, "InvalidURI")
}

func TestQuirk99And100DirectoryMarkers(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/dir/", "")
	s.put("/bucket/dir/file", "x")
	s.head("/bucket/dir/").want(200, "").wantHeader("Content-Length", "0")
	s.head("/bucket/dir").want(404, "")
	s.del("/bucket/dir/").want(204, "")
	s.get("/bucket/dir/file").want(200, "").wantBody("x")
}

func TestQuirk156WriteOffset(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "before")
	s.do("PUT", "/bucket/key", "after", "x-amz-write-offset-bytes", "6").want(501, "NotImplemented")
	s.do("PUT", "/bucket/key", "after", "x-amz-server-side-encryption", "AES256").want(501, "NotImplemented")
	s.do("PUT", "/bucket/key", "after", "x-amz-acl", "public-read").want(400, "AccessControlListNotSupported")
	s.do("PUT", "/bucket/key", "after", "x-amz-object-lock-mode", "GOVERNANCE").want(400, "InvalidRequest")
	s.get("/bucket/key", "x-amz-server-side-encryption-customer-algorithm", "AES256").want(400, "InvalidRequest")
	s.get("/bucket/key").want(200, "").wantBody("before")
	s.put("/bucket/key", "after", "x-amz-acl", "private")
}

func TestQuirk139Tags(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x", "x-amz-tagging", "a=1&b=x%20y")
	s.head("/bucket/key").want(200, "").wantHeader("x-amz-tagging-count", "2")
	got := s.get("/bucket/key?tagging").want(200, "")
	if !slices.Equal(got.elements("Key"), []string{"a", "b"}) || !slices.Equal(got.elements("Value"), []string{"1", "x y"}) {
		t.Errorf("got %s", got.body)
	}
	body := func(pairs ...string) string {
		var b strings.Builder
		for i := 0; i < len(pairs); i += 2 {
			b.WriteString("<Tag><Key>" + pairs[i] + "</Key><Value>" + pairs[i+1] + "</Value></Tag>")
		}
		return "<Tagging><TagSet>" + b.String() + "</TagSet></Tagging>"
	}
	s.put("/bucket/key?tagging", body("c", "3"))
	if got := s.get("/bucket/key?tagging").elements("Key"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("got %v", got)
	}
	s.do("PUT", "/bucket/key?tagging", body("c", "3", "c", "4")).want(400, "InvalidTag")
	s.do("PUT", "/bucket/key?tagging", body(strings.Repeat("k", 129), "")).want(400, "InvalidTag")
	s.do("PUT", "/bucket/key?tagging", body("k", strings.Repeat("v", 257))).want(400, "InvalidTag")
	s.do("PUT", "/bucket/key?tagging", "x").want(400, "MalformedXML")
	s.do("PUT", "/bucket/missing?tagging", body("a", "b")).want(404, "NoSuchKey")
	s.do("PUT", "/bucket/key", "x", "x-amz-tagging", "a=1&a=2").want(400, "InvalidTag")
	s.do("PUT", "/bucket/key", "x", "x-amz-tagging", "a=1&b=&c=&d=&e=&f=&g=&h=&i=&j=&k=").want(400, "BadRequest")
	s.del("/bucket/key?tagging").want(204, "")
	if got := s.get("/bucket/key?tagging").want(200, "").elements("Key"); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	s.head("/bucket/key").wantHeader("x-amz-tagging-count", "")
}

// TestManyClients reads back what it wrote while others do the same: buffers that are
// used again too early would show.
func TestManyClients(t *testing.T) {
	s := withBucket(t)
	var clients sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			for i := range 6 {
				size := sizes[(c+i)%len(sizes)] + c
				body := fmt.Sprint(c, " ", i, " ") + pattern(size)
				target := fmt.Sprintf("/bucket/%d/%d", c, i%3)
				r := s.request("PUT", target, body)
				s.sign(r, body)
				if got := s.send(r); got.status != 200 {
					t.Errorf("PUT %s: %d %s", target, got.status, got.body)
				}
				r = s.request("GET", target, "")
				s.sign(r, "")
				if got := s.send(r); got.status != 200 || got.body != body {
					t.Errorf("GET %s: %d, %d bytes instead of %d", target, got.status, len(got.body), len(body))
				}
			}
		})
	}
	clients.Wait()
	if keys, _ := s.pages(""); len(keys) != 24 {
		t.Errorf("%d keys", len(keys))
	}
}
