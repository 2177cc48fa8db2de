package gateway

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestQuirk1WrongRegion(t *testing.T) {
	s := withBucket(t)
	r := s.request("GET", "/bucket", "")
	s.sign(r, "")
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "/us-east-1/", "/mars-1/", 1))
	got := s.send(r).want(400, "AuthorizationHeaderMalformed")
	if got.element("Error", "Region") != testRegion || !strings.Contains(got.element("Message"), "the region 'mars-1' is wrong; expecting 'us-east-1'") {
		t.Errorf("got %s", got.body)
	}
}

func TestQuirk2WrongSignature(t *testing.T) {
	s := withBucket(t)
	r := s.request("PUT", "/bucket/key", "body")
	s.sign(r, "body")
	r.Header.Set("Authorization", r.Header.Get("Authorization")[:len(r.Header.Get("Authorization"))-64]+strings.Repeat("0", 64))
	got := s.send(r).want(403, "SignatureDoesNotMatch")
	for _, name := range []string{"StringToSign", "CanonicalRequest", "SignatureProvided"} {
		if got.element("Error", name) == "" {
			t.Errorf("no %s: %s", name, got.body)
		}
	}
	s.head("/bucket/key").want(404, "")
}

func TestQuirk3UnknownKey(t *testing.T) {
	s := withBucket(t)
	r := s.request("GET", "/bucket", "")
	s.sign(r, "")
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), testAccessKey, "UNKNOWNKEY", 1))
	s.send(r).want(403, "InvalidAccessKeyId")
}

func TestQuirk4Skew(t *testing.T) {
	s := newTestServer(t, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(16 * time.Minute) }
	})
	got := s.get("/").want(403, "RequestTimeTooSkewed")
	if got.element("Error", "MaxAllowedSkewMilliseconds") != "900000" || got.element("Error", "ServerTime") == "" || got.element("Error", "RequestTime") == "" {
		t.Errorf("got %s", got.body)
	}
}

func TestQuirk6PayloadMismatch(t *testing.T) {
	s := withBucket(t)
	for _, size := range []int{10, 100_000} {
		r := s.request("PUT", "/bucket/key", pattern(size))
		s.sign(r, pattern(size-1))
		s.send(r).want(400, "XAmzContentSHA256Mismatch")
		s.head("/bucket/key").want(404, "")
	}
}

func TestQuirk7SignatureVersion2(t *testing.T) {
	s := withBucket(t)
	got := s.anonymous("GET", "/bucket", "", "Authorization", "AWS AKID:c2lnbmF0dXJl").want(400, "InvalidRequest")
	if !strings.Contains(got.element("Message"), "AWS4-HMAC-SHA256") {
		t.Errorf("got %s", got.body)
	}
}

func TestQuirk8To10Presigned(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "body")
	s.anonymous("GET", s.presign("GET", "/bucket/key"), "").want(200, "").wantBody("body")
	s.anonymous("GET", s.presign("GET", "/bucket/key?x-id=GetObject&response-content-type=a/b"), "").want(200, "").wantHeader("Content-Type", "a/b")
	s.anonymous("GET", s.presign("GET", "/bucket/key?X-Amz-Expires=604801"), "").want(400, "AuthorizationQueryParametersError")
	s.anonymous("PUT", s.presign("PUT", "/bucket/new"), "new").want(200, "")
	s.get("/bucket/new").want(200, "").wantBody("new")
	// security 38: what is not signed cannot be added.
	s.anonymous("PUT", s.presign("PUT", "/bucket/new"), "x", "x-amz-tagging", "a=b").want(403, "AccessDenied")
	late := newTestServer(t, func(c *Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Hour) }
	})
	late.anonymous("GET", late.presign("GET", "/bucket/key"), "").want(403, "AccessDenied")
}

func TestQuirk25And26Anonymous(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	for _, call := range []string{"GET /", "GET /bucket", "GET /bucket/key", "PUT /bucket/key", "DELETE /bucket/key", "POST /bucket?delete", "PUT /other", "GET /bucket?policy", "PUT /bucket?policy", "PATCH /bucket", "GET /bucket?acl&policy"} {
		method, target, _ := strings.Cut(call, " ")
		got := s.anonymous(method, target, "").want(403, "AccessDenied")
		got.wantHeader("WWW-Authenticate", "")
	}
	s.anonymous("HEAD", "/bucket/key", "").want(403, "")
	s.get("/bucket/key").want(200, "").wantBody("x")
}

func TestSecurity2And3GarbageSignatureWithTrailer(t *testing.T) {
	s := withBucket(t)
	body := "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
	headers := []string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "5", "X-Amz-Trailer", "x-amz-checksum-crc32"}
	s.do("PUT", "/bucket/good", body, headers...).want(200, "").wantHeader("x-amz-checksum-crc32", "NhCmhg==")
	s.get("/bucket/good").want(200, "").wantBody("hello")

	r := s.request("PUT", "/bucket/key", body, headers...)
	s.sign(r, "")
	r.Header.Set("Authorization", r.Header.Get("Authorization")[:len(r.Header.Get("Authorization"))-64]+strings.Repeat("1", 64))
	s.send(r).want(403, "SignatureDoesNotMatch")

	target := s.presign("PUT", "/bucket/key")
	target = target[:len(target)-64] + strings.Repeat("1", 64)
	s.anonymous("PUT", target, "hello").want(403, "SignatureDoesNotMatch")
	s.head("/bucket/key").want(404, "")
}

func TestQuirk15To20Chunks(t *testing.T) {
	s := withBucket(t)
	send := func(key, body, decoded string) *answer {
		headers := []string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Trailer", "x-amz-checksum-crc32"}
		if decoded != "" {
			headers = append(headers, "X-Amz-Decoded-Content-Length", decoded)
		}
		return s.do("PUT", "/bucket/"+key, body, headers...)
	}
	send("a", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "").want(411, "MissingContentLength")
	send("a", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "6").want(400, "IncompleteBody")
	send("a", "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n", "5").want(400, "BadDigest")
	send("a", "2\r\nhe\r\n3\r\nllo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n", "5").want(400, "InvalidChunkSizeError")
	s.head("/bucket/a").want(404, "")
}

// TestSecurity35NothingSecretIsLogged runs requests that fail in every way and looks for secrets in the log.
func TestSecurity35NothingSecretIsLogged(t *testing.T) {
	var log lockedBuffer
	s := withBucket(t, func(c *Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		c.MaxInFlight = 1
	})
	r := s.request("GET", "/bucket", "", "X-Amz-Security-Token", "TOKENTEXT")
	s.sign(r, "")
	authorization := r.Header.Get("Authorization")
	s.send(r)
	w := s.dial()
	w.write("GET / HTTP/1.1\r\nAuthorization: " + authorization + "\r\nbroken")
	w.Close()
	for _, d := range s.cluster.drives {
		d.Fail()
	}
	s.do("PUT", "/bucket/key", pattern(100_000)).want(503, "ServiceUnavailable")
	text := log.String()
	if !strings.Contains(text, "request failed") {
		t.Errorf("nothing was logged: %s", text)
	}
	for _, secret := range []string{testSecretKey, authorization, "Signature=", "TOKENTEXT", "X-Amz-Signature"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds %q: %s", secret, text)
		}
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := withBucket(t, func(c *Config) { c.Registerer = registry })
	s.put("/bucket/key", pattern(100_000))
	s.get("/bucket/key").want(200, "")
	s.get("/bucket/missing").want(404, "NoSuchKey")
	waitFor(t, func() bool { return s.inFlight.Load() == 0 })
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue()
		}
	}
	for name, want := range map[string]float64{
		"kintsugi_gateway_requests_total GetObject 2xx": 1, "kintsugi_gateway_requests_total GetObject 4xx": 1,
		"kintsugi_gateway_requests_total PutObject 2xx": 1, "kintsugi_gateway_errors_total NoSuchKey": 1,
		"kintsugi_gateway_received_bytes_total": 100_000, "kintsugi_gateway_sent_bytes_total": 100_000,
	} {
		if values[name] != want {
			t.Errorf("%s is %v, want %v", name, values[name], want)
		}
	}
}

func TestPanicIsOneAnswer(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	broken := &route{method: get, level: objectLevel, name: "GetObject", handle: func(*request) error { panic("broken") }}
	s.byLevel[objectLevel] = append([]*route{broken}, s.byLevel[objectLevel]...)
	s.get("/bucket/key").want(500, "InternalError")
	s.head("/bucket/key").want(200, "")
	if n := s.inFlight.Load(); n != 0 {
		t.Errorf("%d requests in flight", n)
	}
}

func TestQuirk5NoPayloadHash(t *testing.T) {
	s := withBucket(t)
	r := s.request("GET", "/bucket", "")
	s.sign(r, "")
	r.Header.Del("X-Amz-Content-Sha256")
	if got := s.send(r); got.status != 400 && got.status != 403 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	bare := s.anonymous("GET", "/bucket", "", "X-Amz-Date", time.Now().UTC().Format("20060102T150405Z"), "Authorization",
		"AWS4-HMAC-SHA256 Credential="+testAccessKey+"/"+time.Now().UTC().Format("20060102")+"/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64))
	if bare.code() != "InvalidRequest" && bare.code() != "SignatureDoesNotMatch" {
		t.Errorf("got %d %s", bare.status, bare.body)
	}
}

func TestQuirk9PresignedParameters(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	s.anonymous("GET", s.presign("GET", "/bucket/key?X-Amz-Expires=604800"), "").want(200, "")
	for _, expires := range []string{"604801", "0", "-1", "1e3", "x"} {
		s.anonymous("GET", s.presign("GET", "/bucket/key?X-Amz-Expires="+expires), "").want(400, "AuthorizationQueryParametersError")
	}
	whole := s.presign("GET", "/bucket/key")
	for _, name := range []string{"X-Amz-Expires", "X-Amz-Date", "X-Amz-Credential", "X-Amz-SignedHeaders"} {
		var kept []string
		path, query, _ := strings.Cut(whole, "?")
		for pair := range strings.SplitSeq(query, "&") {
			if !strings.HasPrefix(pair, name+"=") {
				kept = append(kept, pair)
			}
		}
		s.anonymous("GET", path+"?"+strings.Join(kept, "&"), "").want(400, "AuthorizationQueryParametersError")
	}
}

func TestSecurity4To6Credentials(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/key", "x")
	target := s.presign("GET", "/bucket/key")
	both := s.request("GET", target, "")
	both.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x")
	if got := s.send(both); got.status != 400 {
		t.Errorf("4, credentials in two places: %d %s", got.status, got.body)
	}
	if got := s.anonymous("GET", target+"&X-Amz-Expires=600", ""); got.status != 400 {
		t.Errorf("5, a parameter twice: %d %s", got.status, got.body)
	}
	added := s.request("PUT", "/bucket/key", "y")
	s.sign(added, "y")
	added.Header.Set("X-Amz-Meta-Added", "later")
	s.send(added).want(403, "AccessDenied")
	s.get("/bucket/key").want(200, "").wantBody("x")
}

func TestQuirk21And22Framing(t *testing.T) {
	s := withBucket(t)
	body := "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
	for encoding, want := range map[string]string{"gzip,aws-chunked": "gzip", "aws-chunked": ""} {
		s.do("PUT", "/bucket/key", body, "X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "5",
			"X-Amz-Trailer", "x-amz-checksum-crc32", "Content-Encoding", encoding).want(200, "")
		s.get("/bucket/key", "Accept-Encoding", "identity").want(200, "").wantBody("hello").wantHeader("Content-Encoding", want)
	}
}

func TestQuirk28SessionToken(t *testing.T) {
	s := withBucket(t)
	if got := s.get("/bucket", "X-Amz-Security-Token", "token"); got.code() != "InvalidToken" || got.status != 400 {
		t.Errorf("got %d %s", got.status, got.body)
	}
}
