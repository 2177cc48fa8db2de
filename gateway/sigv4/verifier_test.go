package sigv4

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The example keys of the AWS documentation.
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var exampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

type oneKey struct{}

func (oneKey) Secret(accessKey string) (string, Identity, bool) {
	if accessKey != exampleKey {
		return "", Identity{}, false
	}
	return exampleSecret, Identity{AccessKey: exampleKey, UserID: "u1", DisplayName: "one"}, true
}

func newVerifier(now time.Time) *Verifier {
	return New(Config{Region: "us-east-1", Keys: oneKey{}, Now: func() time.Time { return now }})
}

// lines are headers as received.
type lines []Field

func (l lines) Each(visit func(name, value string)) {
	for _, f := range l {
		visit(f.Name, f.Value)
	}
}

// received is how the server sees r, which a client library has signed.
func received(r *http.Request) *Request {
	var l lines
	for name, values := range r.Header {
		for _, v := range values {
			l = append(l, Field{name, v})
		}
	}
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	return &Request{Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Host: host, Headers: l}
}

// signed returns a request signed by the AWS library at exampleTime.
func signed(t testing.TB, method, target, payload string, header ...string) *http.Request {
	t.Helper()
	return signedAt(t, exampleTime, exampleKey, "us-east-1", method, target, payload, header...)
}

func signedAt(t testing.TB, at time.Time, key, region, method, target, payload string, header ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Content-Sha256", payload)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	err = signer.SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: exampleSecret}, r, payload, "s3", region, at)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// presigned returns a URL signed by the AWS library at exampleTime, valid for expires seconds.
func presigned(t testing.TB, key, target, expires string) *http.Request {
	t.Helper()
	r, err := http.NewRequest("GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	if expires != "" {
		q := r.URL.Query()
		q.Set("X-Amz-Expires", expires)
		r.URL.RawQuery = q.Encode()
	}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	u, _, err := signer.PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: exampleSecret}, r, unsignedPayload, "s3", "us-east-1", exampleTime)
	if err != nil {
		t.Fatal(err)
	}
	r.URL, err = url.Parse(u)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func codeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func fieldOf(err error, name string) string {
	var e *Error
	if errors.As(err, &e) {
		for _, f := range e.Fields {
			if f.Name == name {
				return f.Value
			}
		}
	}
	return ""
}

const emptySHA = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// TestDocumentedExamples are those of the AWS documentation, with their signatures.
func TestDocumentedExamples(t *testing.T) {
	const credential = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
	const host = "examplebucket.s3.amazonaws.com"
	for _, tc := range []struct {
		name string
		r    Request
	}{
		{"get object", Request{Method: "GET", Path: "/test.txt", Host: host, Headers: lines{
			{"Range", "bytes=0-9"}, {"x-amz-content-sha256", emptySHA}, {"x-amz-date", "20130524T000000Z"},
			{"Authorization", credential + "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"}}}},
		{"put object", Request{Method: "PUT", Path: "/test$file.text", Host: host, Headers: lines{
			{"Date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-date", "20130524T000000Z"}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
			{"x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"},
			{"Authorization", credential + "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class,Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"}}}},
		{"get lifecycle", Request{Method: "GET", Path: "/", Query: "lifecycle", Host: host, Headers: lines{
			{"x-amz-date", "20130524T000000Z"}, {"x-amz-content-sha256", emptySHA},
			{"Authorization", credential + " SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"}}}},
		{"list objects", Request{Method: "GET", Path: "/", Query: "max-keys=2&prefix=J", Host: host, Headers: lines{
			{"x-amz-date", "20130524T000000Z"}, {"x-amz-content-sha256", emptySHA},
			{"Authorization", credential + "SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"}}}},
		{"presigned", Request{Method: "GET", Path: "/test.txt", Host: host, Headers: lines{},
			Query: "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			auth, err := newVerifier(exampleTime).Authenticate(&tc.r)
			if err != nil {
				t.Fatal(err)
			}
			if auth.Identity.UserID != "u1" || auth.Identity.Anonymous {
				t.Errorf("identity %+v", auth.Identity)
			}
		})
	}
}

// TestSignedByLibrary signs with the AWS library what is hard to canonicalise.
func TestSignedByLibrary(t *testing.T) {
	for _, tc := range []struct {
		name   string
		target string
		header []string
	}{
		{"plain", "http://h:9000/b/k", nil},
		{"root", "http://h:9000", nil},
		{"escapes in path", "http://h/b/a%20b%2Bc%3Ad%25e~f/%E2%82%AC", nil},
		{"escaped slash in path", "http://h/b/a%2Fb", nil},
		{"dots and double slashes", "http://h/b/a//./../c/", nil},
		{"query", "http://h/b?prefix=a%2Fb%20c&delimiter=%2F&list-type=2&empty=&acl", nil},
		{"equal names", "http://h/b?a=2&a=1&a-=0", nil},
		{"user metadata", "http://h/b/k", []string{"X-Amz-Meta-A", "  two  spaces ", "X-Amz-Meta-B", "1", "X-Amz-Meta-B", "2"}},
		{"list on several lines", "http://h/b/k?attributes", []string{"X-Amz-Object-Attributes", "ETag", "X-Amz-Object-Attributes", "ObjectSize"}},
		{"row 11: library headers", "http://h/b/k", []string{"Accept-Encoding", "identity", "Amz-Sdk-Request", "attempt=1; max=3", "Amz-Sdk-Invocation-Id", "x"}},
		{"row 13: host with port", "http://h:80/b/k", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := signed(t, "GET", tc.target, emptySHA, tc.header...)
			if _, err := newVerifier(exampleTime).Authenticate(received(r)); err != nil {
				t.Errorf("header: %v", err)
			}
			if tc.header != nil {
				return
			}
			r = presigned(t, exampleKey, tc.target, "60")
			if _, err := newVerifier(exampleTime).Authenticate(received(r)); err != nil {
				t.Errorf("presigned: %v", err)
			}
		})
	}
}

// TestPathForms: what escapes differently on the way names the same key (row 12).
func TestPathForms(t *testing.T) {
	for _, tc := range []struct {
		signed, sent string
		ok           bool
	}{
		{"/b/a%2Bb", "/b/a+b", true},
		{"/b/a~b", "/b/a%7Eb", true},
		{"/b/a%3Ab", "/b/a:b", true},
		{"/b/a%2Fb", "/b/a%2fb", true},
		{"/b/a/b", "/b/a%2Fb", true},
		{"/b/a%20b", "/b/a+b", false},
		{"/b/a%2525", "/b/a%25", false},
		{"/b/a//b", "/b/a/b", false},
	} {
		t.Run(tc.sent, func(t *testing.T) {
			r := received(signed(t, "GET", "http://h"+tc.signed, emptySHA))
			r.Path = tc.sent
			if _, err := newVerifier(exampleTime).Authenticate(r); (err == nil) != tc.ok {
				t.Errorf("signed %s, sent %s: %v", tc.signed, tc.sent, err)
			}
		})
	}
}

// change edits a request after it was signed.
type change func(*Request)

func setHeader(name, value string) change {
	return func(r *Request) {
		l := r.Headers.(lines)
		for i := range l {
			if strings.EqualFold(l[i].Name, name) {
				l[i].Value = value
				return
			}
		}
		r.Headers = append(l, Field{name, value})
	}
}

func addHeader(name, value string) change {
	return func(r *Request) { r.Headers = append(r.Headers.(lines), Field{name, value}) }
}

func dropHeader(name string) change {
	return func(r *Request) {
		var kept lines
		for _, f := range r.Headers.(lines) {
			if !strings.EqualFold(f.Name, name) {
				kept = append(kept, f)
			}
		}
		r.Headers = kept
	}
}

func editAuthorization(old, new string) change {
	return func(r *Request) {
		l := r.Headers.(lines)
		for i := range l {
			if l[i].Name == "Authorization" {
				l[i].Value = strings.Replace(l[i].Value, old, new, 1)
			}
		}
	}
}

func editQuery(old, new string) change {
	return func(r *Request) { r.Query = strings.Replace(r.Query, old, new, 1) }
}

func addQuery(pair string) change { return func(r *Request) { r.Query += "&" + pair } }

// TestRefusedHeader are requests with an Authorization header that must not pass.
func TestRefusedHeader(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change change
		code   Code
		field  string
	}{
		{"row 2: wrong signature", editAuthorization("Signature=", "Signature=0"), SignatureDoesNotMatch, "StringToSign"},
		{"signature cut", func(r *Request) { editAuthorization("Signature=", "Signature=00, X=")(r) }, AuthorizationHeaderMalformed, ""},
		{"another method", func(r *Request) { r.Method = "DELETE" }, SignatureDoesNotMatch, "CanonicalRequest"},
		{"another key", func(r *Request) { r.Path = "/b/other" }, SignatureDoesNotMatch, "SignatureProvided"},
		{"another query", addQuery("versionId=1"), SignatureDoesNotMatch, ""},
		{"another host", func(r *Request) { r.Host = "evil" }, SignatureDoesNotMatch, ""},
		{"another payload hash", setHeader("x-amz-content-sha256", unsignedPayload), SignatureDoesNotMatch, ""},
		{"row 3: unknown key", editAuthorization(exampleKey, "AKIANOBODY"), InvalidAccessKeyID, "AWSAccessKeyId"},
		{"row 1: wrong region", editAuthorization("us-east-1", "eu-west-1"), AuthorizationHeaderMalformed, "Region"},
		{"wrong service", editAuthorization("/s3/", "/ec2/"), AuthorizationHeaderMalformed, ""},
		{"wrong date", editAuthorization("20130524", "20130523"), AuthorizationHeaderMalformed, ""},
		{"wrong terminator", editAuthorization("aws4_request", "aws5_request"), AuthorizationHeaderMalformed, ""},
		{"row 5: no payload hash", dropHeader("x-amz-content-sha256"), InvalidRequest, ""},
		{"bad payload hash", setHeader("x-amz-content-sha256", "abc"), SignatureDoesNotMatch, ""},
		{"row 7: version 2", setHeader("Authorization", "AWS AKIA:abc="), InvalidRequest, ""},
		{"basic", setHeader("Authorization", "Basic abc="), InvalidArgument, "ArgumentName"},
		{"lower-case algorithm", editAuthorization("AWS4-HMAC", "aws4-hmac"), InvalidArgument, ""},
		{"case 4: credentials twice", addQuery("X-Amz-Signature=0"), InvalidRequest, ""},
		{"case 5: Authorization twice", addHeader("authorization", "AWS4-HMAC-SHA256 x"), InvalidRequest, ""},
		{"case 5: x-amz-date twice", addHeader("x-amz-date", "20130524T000000Z"), InvalidRequest, ""},
		{"case 6: unsigned x-amz", addHeader("X-Amz-Acl", "public-read"), AccessDenied, "HeadersNotSigned"},
		{"case 6: unsigned metadata", addHeader("X-Amz-Meta-A", "b"), AccessDenied, "HeadersNotSigned"},
		{"case 6: unsigned host", editAuthorization("host;", ""), AccessDenied, "HeadersNotSigned"},
		{"no date", dropHeader("x-amz-date"), AccessDenied, ""},
		{"date with a fraction", setHeader("x-amz-date", "20130524T000000.5Z"), AccessDenied, ""},
		{"component twice", editAuthorization("Signature=", "Signature=00, Signature="), AuthorizationHeaderMalformed, ""},
		{"short credential", editAuthorization("/aws4_request", ""), AuthorizationHeaderMalformed, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := received(signed(t, "GET", "http://h/b/k?a=b", emptySHA))
			tc.change(r)
			auth, err := newVerifier(exampleTime).Authenticate(r)
			if got := codeOf(err); got != tc.code || auth != nil {
				t.Fatalf("got %v (auth %v), want %s", err, auth, tc.code)
			}
			if tc.field != "" && fieldOf(err, tc.field) == "" {
				t.Errorf("no %s in %+v", tc.field, err)
			}
		})
	}
}

// TestRefusedPresigned are presigned URLs that must not pass.
func TestRefusedPresigned(t *testing.T) {
	for _, tc := range []struct {
		name    string
		expires string
		change  change
		code    Code
	}{
		{"row 9: one second too long", "604801", nil, AuthorizationQueryParametersError},
		{"row 9: zero", "0", nil, AuthorizationQueryParametersError},
		{"row 9: negative", "-1", nil, AuthorizationQueryParametersError},
		{"row 9: not a number", "1e3", nil, AuthorizationQueryParametersError},
		{"row 9: none", "", nil, AuthorizationQueryParametersError},
		{"row 9: no signature", "60", editQuery("X-Amz-Signature", "X-Signature"), AuthorizationQueryParametersError},
		{"wrong signature", "60", editQuery("X-Amz-Signature=", "X-Amz-Signature=0"), SignatureDoesNotMatch},
		{"longer than signed", "60", editQuery("Expires=60", "Expires=61"), SignatureDoesNotMatch},
		{"unknown key", "60", editQuery(exampleKey, "AKIANOBODY"), InvalidAccessKeyID},
		{"wrong region", "60", editQuery("us-east-1", "eu-west-1"), AuthorizationQueryParametersError},
		{"extra parameter", "60", addQuery("response-content-type=text%2Fhtml"), SignatureDoesNotMatch},
		{"case 5: parameter twice", "60", addQuery("X-Amz-Expires=60"), InvalidRequest},
		{"case 4: header as well", "60", addHeader("Authorization", "AWS4-HMAC-SHA256 x"), InvalidRequest},
		{"case 38: unsigned header", "60", addHeader("x-amz-tagging", "a=b"), AccessDenied},
		{"version 2", "60", addQuery("AWSAccessKeyId=a"), InvalidRequest},
		{"lower-case algorithm", "60", editQuery("AWS4-HMAC", "aws4-hmac"), AuthorizationQueryParametersError},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := received(presigned(t, exampleKey, "http://h/b/k?x-id=GetObject", tc.expires))
			if tc.change != nil {
				tc.change(r)
			}
			_, err := newVerifier(exampleTime).Authenticate(r)
			if got := codeOf(err); got != tc.code {
				t.Fatalf("got %v, want %s", err, tc.code)
			}
		})
	}
}

// TestClock walks over the edges of validity (rows 4 and 8, case 8).
func TestClock(t *testing.T) {
	for _, tc := range []struct {
		name      string
		presigned string
		now       time.Duration // after the signature
		code      Code
	}{
		{"14:59 late", "", 14*time.Minute + 59*time.Second, ""},
		{"15:01 late", "", 15*time.Minute + time.Second, RequestTimeTooSkewed},
		{"14:59 early", "", -14*time.Minute - 59*time.Second, ""},
		{"15:01 early", "", -15*time.Minute - time.Second, RequestTimeTooSkewed},
		{"presigned, last second", "604800", 604800 * time.Second, ""},
		{"presigned, expired", "604800", 604801 * time.Second, AccessDenied},
		{"presigned in the future", "60", -16 * time.Minute, AccessDenied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := signed(t, "GET", "http://h/b/k", emptySHA)
			if tc.presigned != "" {
				r = presigned(t, exampleKey, "http://h/b/k", tc.presigned)
			}
			_, err := newVerifier(exampleTime.Add(tc.now)).Authenticate(received(r))
			if got := codeOf(err); got != tc.code {
				t.Fatalf("got %v, want %q", err, tc.code)
			}
		})
	}
}

func TestAnonymous(t *testing.T) {
	auth, err := newVerifier(exampleTime).Authenticate(&Request{Method: "GET", Path: "/b/k", Host: "h", Headers: lines{}})
	if err != nil || !auth.Identity.Anonymous || auth.Identity.UserID != "" {
		t.Fatalf("%+v, %v", auth, err)
	}
	_, err = newVerifier(exampleTime).Authenticate(&Request{Method: "PUT", Path: "/b/k", Host: "h",
		Headers: lines{{"x-amz-content-sha256", streamingSigned}}})
	if codeOf(err) != InvalidRequest {
		t.Fatalf("signed chunks without a signature: %v", err)
	}
}

// TestChangedSecret: a cached signing key must not outlive its secret.
func TestChangedSecret(t *testing.T) {
	keys := &rotating{secret: exampleSecret}
	v := New(Config{Region: "us-east-1", Keys: keys, Now: func() time.Time { return exampleTime }})
	r := received(signed(t, "GET", "http://h/b/k", emptySHA))
	if _, err := v.Authenticate(r); err != nil {
		t.Fatal(err)
	}
	keys.secret = "another"
	if _, err := v.Authenticate(r); codeOf(err) != SignatureDoesNotMatch {
		t.Fatalf("old secret: %v", err)
	}
	keys.gone = true
	if _, err := v.Authenticate(r); codeOf(err) != InvalidAccessKeyID {
		t.Fatalf("removed key: %v", err)
	}
}

type rotating struct {
	secret string
	gone   bool
}

func (k *rotating) Secret(string) (string, Identity, bool) { return k.secret, Identity{}, !k.gone }

// TestEmptySecret: neither an unknown key, for which an empty secret stands in, nor a key that
// was set up without one can be used by signing with nothing.
func TestEmptySecret(t *testing.T) {
	r, err := http.NewRequest("GET", "http://h/b/k", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Content-Sha256", emptySHA)
	in := resignWith(r, "AKIANOBODY", "")
	for name, keys := range map[string]Keys{"unknown": oneKey{}, "without a secret": &rotating{}} {
		v := New(Config{Region: "us-east-1", Keys: keys, Now: func() time.Time { return exampleTime }})
		if _, err := v.Authenticate(in); codeOf(err) != InvalidAccessKeyID {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSecurityToken(t *testing.T) {
	r := signed(t, "GET", "http://h/b/k", emptySHA, "X-Amz-Security-Token", "x")
	if _, err := newVerifier(exampleTime).Authenticate(received(r)); codeOf(err) != InvalidToken {
		t.Fatal(err)
	}
}

func FuzzAuthenticate(f *testing.F) {
	f.Add("/b/k", "a=b&c", "AWS4-HMAC-SHA256 Credential=a/20130524/us-east-1/s3/aws4_request,SignedHeaders=host,Signature=00", "20130524T000000Z", "x")
	f.Add("%zz%", "X-Amz-Signature=%2&X-Amz-Credential", "", "", "")
	f.Add("", "&&=&%41", "AWS4-HMAC-SHA256 Credential=////,SignedHeaders=;;,Signature=", "99999999T999999Z", streamingSigned)
	v := newVerifier(exampleTime)
	f.Fuzz(func(t *testing.T, path, query, authorization, date, payload string) {
		_, err := v.Authenticate(&Request{Method: "GET", Path: path, Query: query, Host: "h", Headers: lines{
			{"Authorization", authorization}, {"x-amz-date", date}, {"x-amz-content-sha256", payload}}})
		if err == nil && strings.TrimSpace(authorization) != "" {
			t.Fatal("authenticated a signature that nobody made")
		}
		if again := canonicalPath(canonicalPath(path)); again != canonicalPath(path) {
			t.Fatalf("canonicalPath is not idempotent: %q", path)
		}
	})
}

func BenchmarkAuthenticate(b *testing.B) {
	r := received(signed(b, "GET", "http://127.0.0.1:9000/bucket/some/object/key.bin?x-id=GetObject", emptySHA,
		"Amz-Sdk-Request", "attempt=1; max=3", "Accept-Encoding", "identity", "User-Agent", "aws-sdk-go-v2/1.30 os/linux"))
	v := newVerifier(exampleTime)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Authenticate(r); err != nil {
			b.Fatal(err)
		}
	}
}
