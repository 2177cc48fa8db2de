package gateway

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"kintsugi/gateway/checksum"
	"kintsugi/meta"
)

// minPart is the smallest part that another may follow.
var minPart = pattern(minPartBytes)

// openUpload opens an upload and returns its id.
func (s *testServer) openUpload(target string, headers ...string) string {
	s.t.Helper()
	id := s.do(http.MethodPost, target+"?uploads", "", headers...).want(200, "").element("UploadId")
	if id == "" {
		s.t.Fatal("no upload id")
	}
	return id
}

// partTarget is where a part is uploaded to.
func partTarget(target, id string, number int) string {
	return target + "?partNumber=" + strconv.Itoa(number) + "&uploadId=" + id
}

// part uploads a part and returns its line in the list of parts.
func (s *testServer) part(target, id string, number int, body string, headers ...string) string {
	s.t.Helper()
	a := s.put(partTarget(target, id, number), body, headers...)
	return listPart(number, a.header.Get("ETag"))
}

// listPart is a part as the client lists it; rest are further elements.
func listPart(number int, etag string, rest ...string) string {
	return fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>%s</Part>", number, etag, strings.Join(rest, ""))
}

// complete asks to complete an upload of the listed parts.
func (s *testServer) complete(target, id string, parts []string, headers ...string) *answer {
	s.t.Helper()
	body := `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + strings.Join(parts, "") + "</CompleteMultipartUpload>"
	return s.do(http.MethodPost, target+"?uploadId="+id, body, headers...)
}

// wantETag is the ETag of an object of parts with these bodies.
func wantETag(t testing.TB, bodies ...string) string {
	t.Helper()
	var parts []meta.Part
	for _, body := range bodies {
		parts = append(parts, meta.Part{ETag: checksum.Of(meta.NoChecksum, []byte(body)).ETag()})
	}
	etag, err := checksum.MultipartETag(parts)
	if err != nil {
		t.Fatal(err)
	}
	return quote(etag)
}

// crcOf is a checksum header's value for body.
func crcOf(a meta.ChecksumAlgorithm, body string) string {
	return checksum.String(checksum.Of(a, []byte(body)).Checksum, 0)
}

func TestMultipart(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/dir/key", "Content-Type", "text/plain", "X-Amz-Meta-A", "b", "Cache-Control", "no-store", "X-Amz-Tagging", "k=v")
	parts := []string{s.part("/bucket/dir/key", id, 3, minPart), s.part("/bucket/dir/key", id, 9000, "tail")}

	// Row 121: nothing of it is an object yet.
	s.get("/bucket/dir/key").want(404, "NoSuchKey")
	if keys := s.get("/bucket?list-type=2").want(200, "").elements("Key"); len(keys) != 0 {
		t.Errorf("row 121: an open upload is listed: %v", keys)
	}

	a := s.complete("/bucket/dir/key", id, parts).want(200, "")
	etag := wantETag(t, minPart, "tail")
	for name, want := range map[string]string{
		"Location": "http://" + s.address + "/bucket/dir/key", "Bucket": "bucket", "Key": "dir/key", "ETag": etag,
		"ChecksumCRC64NVME": crcOf(meta.CRC64NVME, minPart+"tail"), "ChecksumType": "FULL_OBJECT",
	} {
		if got := a.element(name); got != want {
			t.Errorf("row 119: %s is %q, want %q", name, got, want)
		}
	}
	// Row 122: what was said at the start applies.
	s.get("/bucket/dir/key", "X-Amz-Checksum-Mode", "ENABLED").want(200, "").wantBody(minPart+"tail").wantHeader("ETag", etag).
		wantHeader("Content-Type", "text/plain").wantHeader("x-amz-meta-a", "b").wantHeader("Cache-Control", "no-store").
		wantHeader("x-amz-tagging-count", "1").wantHeader("x-amz-checksum-crc64nvme", crcOf(meta.CRC64NVME, minPart+"tail"))
	s.get("/bucket/dir/key", "Range", "bytes=5242878-5242881").want(206, "").wantBody(minPart[minPartBytes-2:] + "ta")

	// Row 114: a retry sees its own success; row 113: then the upload is gone.
	if again := s.complete("/bucket/dir/key", id, parts).want(200, "").element("ETag"); again != etag {
		t.Errorf("row 114: the repetition tells %s", again)
	}
	s.get("/bucket/dir/key?uploadId="+id).want(404, "NoSuchUpload")
}

func TestQuirk110EmptyList(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key")
	s.complete("/bucket/key", id, nil).want(400, "MalformedXML")
	for name, body := range map[string]string{
		"nothing": "", "no XML": "parts", "another document": "<Delete></Delete>", "trailing": "<CompleteMultipartUpload></CompleteMultipartUpload>x",
		"no number": "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber></Part></CompleteMultipartUpload>",
		"entity":    `<!DOCTYPE a [<!ENTITY b "c">]><CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&b;</ETag></Part></CompleteMultipartUpload>`,
	} {
		if got := s.do("POST", "/bucket/key?uploadId="+id, body).code(); got != "MalformedXML" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestQuirk111PartTooSmall(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key")
	parts := []string{s.part("/bucket/key", id, 1, "small"), s.part("/bucket/key", id, 2, "last")}
	a := s.complete("/bucket/key", id, parts).want(400, "EntityTooSmall")
	for name, want := range map[string]string{"ProposedSize": "5", "MinSizeAllowed": "5242880", "PartNumber": "1"} {
		if got := a.element(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	s.complete("/bucket/key", id, parts[1:]).want(200, "") // the last may be small
	s.get("/bucket/key").want(200, "").wantBody("last")
}

func TestQuirk112InvalidPart(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key")
	one, two := s.part("/bucket/key", id, 1, minPart), s.part("/bucket/key", id, 2, "b")
	other := quote(checksum.Of(0, []byte("other")).ETag())
	for _, tc := range []struct {
		name  string
		parts []string
		code  string
	}{
		{"wrong ETag", []string{listPart(1, other)}, "InvalidPart"},
		{"no ETag", []string{listPart(1, "x")}, "InvalidPart"},
		{"missing part", []string{one, two, listPart(3, other)}, "InvalidPart"},
		{"wrong checksum", []string{listPart(1, other, "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>")}, "InvalidPart"},
		{"wrong order", []string{two, one}, "InvalidPartOrder"},
		{"twice", []string{one, one}, "InvalidPartOrder"},
		{"row 115: number 0", []string{listPart(0, other)}, "InvalidArgument"},
		{"row 115: number 10001", []string{listPart(10001, other)}, "InvalidArgument"},
	} {
		if got := s.complete("/bucket/key", id, tc.parts); got.status != 400 || got.code() != tc.code {
			t.Errorf("%s: %d %s, want %s", tc.name, got.status, got.code(), tc.code)
		}
	}
	s.complete("/bucket/key", id, []string{one, two}).want(200, "")
}

func TestQuirk113NoSuchUpload(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key")
	s.del("/bucket/key?uploadId="+id).want(204, "")
	for name, unknown := range map[string]string{"aborted": id, "unknown": "abc", "empty": "", "of another key": s.openUpload("/bucket/other")} {
		t.Run(name, func(t *testing.T) {
			s := s
			s.do("PUT", partTarget("/bucket/key", unknown, 1), "x").want(404, "NoSuchUpload")
			s.complete("/bucket/key", unknown, []string{listPart(1, quote(checksum.Of(0, nil).ETag()))}).want(404, "NoSuchUpload")
			s.get("/bucket/key?uploadId="+unknown).want(404, "NoSuchUpload")
			s.del("/bucket/key?uploadId="+unknown).want(404, "NoSuchUpload")
		})
	}
	s.do("POST", "/nobucket/key?uploads", "").want(404, "NoSuchBucket")
}

func TestQuirk115PartNumbers(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key")
	for _, number := range []string{"0", "-1", "10001", "x", ""} {
		s.do("PUT", "/bucket/key?partNumber="+number+"&uploadId="+id, "x").want(400, "InvalidArgument")
	}
	s.part("/bucket/key", id, 10000, "x")
}

func TestQuirk116PartAgain(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key")
	old := s.part("/bucket/key", id, 1, minPart)
	one := s.part("/bucket/key", id, 1, "b"+minPart)
	s.part("/bucket/key", id, 2, "unlisted")
	three := s.part("/bucket/key", id, 3, "c")
	s.complete("/bucket/key", id, []string{old, three}).want(400, "InvalidPart")
	s.complete("/bucket/key", id, []string{one, three}).want(200, "")
	s.get("/bucket/key").want(200, "").wantBody("b" + minPart + "c")
}

func TestQuirk117QuotesInList(t *testing.T) {
	s := withBucket(t)
	etag := checksum.Of(0, []byte("x")).ETag()
	for name, form := range map[string]string{"quoted": `"` + etag + `"`, "bare": etag, "escaped": "&quot;" + etag + "&quot;", "upper case": strings.ToUpper(etag)} {
		id := s.openUpload("/bucket/key")
		s.part("/bucket/key", id, 1, "x")
		if a := s.complete("/bucket/key", id, []string{listPart(1, form)}); a.status != 200 {
			t.Errorf("%s: %s", name, a.body)
		}
	}
}

func TestQuirk118ObjectSize(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key")
	parts := []string{s.part("/bucket/key", id, 1, "abc")}
	for _, size := range []string{"2", "4", "-1", "x"} {
		s.complete("/bucket/key", id, parts, "X-Amz-Mp-Object-Size", size).want(400, "InvalidRequest")
	}
	s.complete("/bucket/key", id, parts, "X-Amz-Mp-Object-Size", "3").want(200, "")
}

func TestQuirk119VersionID(t *testing.T) {
	s := withVersions(t)
	id := s.openUpload("/bucket/key")
	a := s.complete("/bucket/key", id, []string{s.part("/bucket/key", id, 1, "abc")}).want(200, "")
	version := a.header.Get("x-amz-version-id")
	if version == "" {
		t.Fatal("no version id")
	}
	s.put("/bucket/key", "newer")
	s.get("/bucket/key?versionId="+version).want(200, "").wantBody("abc")
}

func TestQuirk120OnePart(t *testing.T) {
	s := withBucket(t)
	for _, body := range []string{"x", ""} {
		id := s.openUpload("/bucket/key")
		s.complete("/bucket/key", id, []string{s.part("/bucket/key", id, 1, body)}).want(200, "")
		s.get("/bucket/key").want(200, "").wantBody(body).wantHeader("ETag", wantETag(t, body))
		s.get("/bucket/key?partNumber=1").want(206, "").wantBody(body).wantHeader("x-amz-mp-parts-count", "1")
	}
}

func TestQuirk121Abort(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key")
	s.part("/bucket/key", id, 1, pattern(300_000))
	s.del("/bucket/key?uploadId="+id).want(204, "")
	garbage := 0
	for group := range s.meta.Groups() {
		queued, err := s.meta.Garbage(t.Context(), group, 10)
		if err != nil {
			t.Fatal(err)
		}
		garbage += len(queued)
	}
	if garbage != 1 {
		t.Errorf("%d blobs are queued for removal, want that of the part", garbage)
	}
	s.del("/bucket").want(204, "")
}

func TestQuirk53ConditionOfComplete(t *testing.T) {
	s := withBucket(t)
	etag := s.put("/bucket/key", "there").header.Get("ETag")
	id := s.openUpload("/bucket/key")
	parts := []string{s.part("/bucket/key", id, 1, "new")}
	a := s.complete("/bucket/key", id, parts, "If-None-Match", "*").want(412, "PreconditionFailed") // row 46
	if a.element("Condition") != "If-None-Match" {
		t.Errorf("condition %q", a.element("Condition"))
	}
	s.complete("/bucket/key", id, parts, "If-Match", `"0123"`).want(412, "PreconditionFailed") // row 49
	s.complete("/bucket/key", id, parts, "If-None-Match", etag).want(501, "NotImplemented")    // row 47
	s.complete("/bucket/key", id, parts, "If-None-Match", "*", "If-Match", etag).want(501, "NotImplemented")
	s.get("/bucket/key").want(200, "").wantBody("there")
	s.get("/bucket/key?uploadId="+id).want(200, "") // it is still open
	s.complete("/bucket/key", id, parts, "If-Match", etag).want(200, "")
	s.get("/bucket/key").want(200, "").wantBody("new")

	id = s.openUpload("/bucket/none")
	parts = []string{s.part("/bucket/none", id, 1, "new")}
	s.complete("/bucket/none", id, parts, "If-Match", etag).want(404, "NoSuchKey") // row 50
	s.complete("/bucket/none", id, parts, "If-None-Match", "*").want(200, "")
	s.complete("/bucket/none", id, parts, "If-None-Match", "*").want(200, "") // the retry of what succeeded
}

func TestQuirk52MarkerCountsAsNone(t *testing.T) {
	s := withVersions(t)
	s.put("/bucket/key", "old")
	s.del("/bucket/key").want(204, "")
	id := s.openUpload("/bucket/key")
	parts := []string{s.part("/bucket/key", id, 1, "new")}
	s.complete("/bucket/key", id, parts, "If-None-Match", "*").want(200, "")
}

// TestQuirk37Checksums completes uploads of all algorithms and types.
func TestQuirk37Checksums(t *testing.T) {
	s := withBucket(t)
	for _, tc := range []struct{ algorithm, wish, want string }{
		{"CRC32", "", "COMPOSITE"}, {"CRC32", "FULL_OBJECT", "FULL_OBJECT"}, {"CRC32C", "COMPOSITE", "COMPOSITE"},
		{"CRC32C", "FULL_OBJECT", "FULL_OBJECT"}, {"CRC64NVME", "", "FULL_OBJECT"}, {"SHA1", "", "COMPOSITE"}, {"SHA256", "COMPOSITE", "COMPOSITE"},
		{"CRC64NVME", "COMPOSITE", ""}, {"SHA1", "FULL_OBJECT", ""}, {"SHA256", "FULL_OBJECT", ""}, {"CRC32", "x", ""}, {"MD4", "", ""}, {"", "COMPOSITE", ""},
	} {
		t.Run(tc.algorithm+" "+tc.wish, func(t *testing.T) {
			headers := []string{"X-Amz-Checksum-Algorithm", tc.algorithm}
			if tc.wish != "" {
				headers = append(headers, "X-Amz-Checksum-Type", tc.wish)
			}
			if tc.want == "" {
				s.do("POST", "/bucket/key?uploads", "", headers...).want(400, "InvalidRequest")
				return
			}
			a, err := checksum.Algorithm(tc.algorithm)
			if err != nil {
				t.Fatal(err)
			}
			opened := s.do("POST", "/bucket/key?uploads", "", headers...).want(200, "").
				wantHeader("x-amz-checksum-algorithm", tc.algorithm).wantHeader("x-amz-checksum-type", tc.want)
			id := opened.element("UploadId")
			first, second := crcOf(a, minPart), crcOf(a, "tail")
			one := s.put(partTarget("/bucket/key", id, 1), minPart, "X-Amz-Checksum-"+tc.algorithm, first)
			two := s.put(partTarget("/bucket/key", id, 2), "tail").wantHeader("x-amz-checksum-"+strings.ToLower(tc.algorithm), second)
			parts := []string{
				listPart(1, one.header.Get("ETag"), "<Checksum"+tc.algorithm+">"+first+"</Checksum"+tc.algorithm+">"),
				listPart(2, two.header.Get("ETag"), "<Checksum"+tc.algorithm+">"+second+"</Checksum"+tc.algorithm+">"),
			}
			want := crcOf(a, minPart+"tail")
			if tc.want == "COMPOSITE" {
				whole, err := checksum.Multipart(a, true, []meta.Part{
					{Checksum: checksum.Of(a, []byte(minPart)).Checksum}, {Checksum: checksum.Of(a, []byte("tail")).Checksum},
				})
				if err != nil {
					t.Fatal(err)
				}
				want = checksum.String(whole, 2)
			}
			s.complete("/bucket/key", id, parts, "X-Amz-Checksum-"+tc.algorithm, first).want(400, "BadDigest")
			done := s.complete("/bucket/key", id, parts, "X-Amz-Checksum-"+tc.algorithm, want, "X-Amz-Checksum-Type", tc.want).want(200, "")
			if got := done.element("Checksum" + tc.algorithm); got != want || done.element("ChecksumType") != tc.want {
				t.Errorf("got %s %s, want %s", got, done.element("ChecksumType"), want)
			}
			s.head("/bucket/key", "X-Amz-Checksum-Mode", "ENABLED").want(200, "").
				wantHeader("x-amz-checksum-"+strings.ToLower(tc.algorithm), want).wantHeader("x-amz-checksum-type", tc.want)
		})
	}
}

func TestPartChecksums(t *testing.T) {
	s := withBucket(t)
	id := s.openUpload("/bucket/key", "X-Amz-Checksum-Algorithm", "SHA256")
	target := partTarget("/bucket/key", id, 1)
	s.do("PUT", target, "x", "X-Amz-Checksum-Crc32", crcOf(meta.CRC32, "x")).want(400, "InvalidRequest")
	s.do("PUT", target, "x", "X-Amz-Checksum-Sha256", crcOf(meta.SHA256, "y")).want(400, "BadDigest")
	s.do("PUT", target, "x", "Content-Md5", "1B2M2Y8AsgTpgAmY7PhCfg==").want(400, "BadDigest")
	s.do("PUT", target, "x", "X-Amz-Content-Sha256", strings.Repeat("0", 64)).want(400, "XAmzContentSHA256Mismatch")
	if got := s.get("/bucket/key?uploadId=" + id).elements("PartNumber"); len(got) != 0 {
		t.Errorf("refused parts are listed: %v", got)
	}
	s.put(target, "x", "X-Amz-Checksum-Sha256", crcOf(meta.SHA256, "x"))

	// Where no algorithm was chosen, parts of one algorithm make a whole, others none.
	id = s.openUpload("/bucket/key")
	one := s.part("/bucket/key", id, 1, minPart, "X-Amz-Checksum-Crc32", crcOf(meta.CRC32, minPart))
	two := s.part("/bucket/key", id, 2, "x", "X-Amz-Checksum-Crc32", crcOf(meta.CRC32, "x"))
	a := s.complete("/bucket/key", id, []string{one, two}).want(200, "")
	if got, want := a.element("ChecksumCRC32"), crcOf(meta.CRC32, minPart+"x"); got != want {
		t.Errorf("whole: %s, want %s", got, want)
	}
	id = s.openUpload("/bucket/key")
	one = s.part("/bucket/key", id, 1, minPart)
	other := s.part("/bucket/key", id, 3, "y", "X-Amz-Checksum-Sha1", crcOf(meta.SHA1, "y"))
	a = s.complete("/bucket/key", id, []string{one, other}).want(200, "")
	if a.element("ChecksumType") != "" {
		t.Errorf("a checksum of parts that have none in common: %s", a.body)
	}
}

// TestQuirk114Race: however often an upload is completed at once, there is one object and one answer; and
// of the uploads that race for a key that must not exist, one wins.
func TestQuirk114Race(t *testing.T) {
	const racers = 8
	s := withVersions(t)
	id := s.openUpload("/bucket/key")
	parts := []string{s.part("/bucket/key", id, 1, "x")}
	answers := race(racers, func(int) *answer { return s.complete("/bucket/key", id, parts, "If-None-Match", "*") })
	for _, a := range answers {
		if a.status != 200 || a.element("ETag") != wantETag(t, "x") || a.header.Get("x-amz-version-id") != answers[0].header.Get("x-amz-version-id") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if got := s.get("/bucket?versions").elements("VersionId"); len(got) != 1 {
		t.Errorf("versions %v", got)
	}
	won := 0
	answers = race(racers, func(int) *answer {
		id := s.openUpload("/bucket/new")
		return s.complete("/bucket/new", id, []string{s.part("/bucket/new", id, 1, "x")}, "If-None-Match", "*")
	})
	for _, a := range answers {
		if a.status == 200 {
			won++
		} else if a.status != 412 {
			t.Errorf("row 51: %d %s", a.status, a.body)
		}
	}
	if won != 1 {
		t.Errorf("row 51: %d uploads won", won)
	}
}

// race calls do n times at once.
func race(n int, do func(i int) *answer) []*answer {
	answers := make([]*answer, n)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() { answers[i] = do(i) })
	}
	wg.Wait()
	return answers
}
