package bench

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

func TestSignAgreesWithSDK(t *testing.T) {
	cases := []struct {
		name string
		r    request
	}{
		{"object", request{method: "GET", path: []byte("/bucket/a/b"), payloadHash: emptySHA256}},
		{"escaped", request{method: "PUT", path: []byte("/bucket/" + escapePath("a b+ä/c")), payloadHash: unsignedPayload}},
		{"query", request{method: "GET", path: []byte("/bucket"), payloadHash: emptySHA256,
			query: "continuation-token=" + escapeQuery("a/+=") + "&list-type=2&prefix="}},
		{"chunked", request{method: "PUT", path: []byte("/bucket/k"), payloadHash: chunkedPayload, decodedLength: "123"}},
	}
	s := newSigner(Config{AccessKey: "AKID", SecretKey: "secret", Region: "eu-central-1"})
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(i) * 20 * time.Hour)
			tc.r.host = "127.0.0.1:9000"
			got := string(s.appendHeaders(nil, &tc.r, when))

			want, err := http.NewRequest(tc.r.method, "http://127.0.0.1:9000"+string(tc.r.path)+"?"+tc.r.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			want.Header.Set("x-amz-content-sha256", tc.r.payloadHash)
			if tc.r.decodedLength != "" {
				want.Header.Set("x-amz-decoded-content-length", tc.r.decodedLength)
			}
			credentials := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}
			err = v4.NewSigner().SignHTTP(t.Context(), credentials, want, tc.r.payloadHash, "s3", "eu-central-1", when,
				func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
			if err != nil {
				t.Fatal(err)
			}
			_, signature, _ := strings.Cut(want.Header.Get("Authorization"), "Signature=")
			if !strings.Contains(got, "Signature="+signature+"\r\n") {
				t.Errorf("got %s\nwant signature %s", got, signature)
			}
		})
	}
}

// TestSignChunks is the example of the S3 documentation.
func TestSignChunks(t *testing.T) {
	s := newSigner(Config{AccessKey: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", Region: "us-east-1"})
	s.at(time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC))
	s.signature = []byte("4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9")
	body := bytes.Repeat([]byte("a"), 66560)
	got := appendSignedChunks(nil, body, s)
	if len(got) != 66824 || len(got) != chunkedSize(len(body)) {
		t.Errorf("got %d bytes, want 66824 and chunkedSize %d", len(got), chunkedSize(len(body)))
	}
	for _, want := range []string{
		"10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
		"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
		"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
	} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("lacks %q", want)
		}
	}
}

func TestChunkedSize(t *testing.T) {
	s := newSigner(Config{AccessKey: "a", SecretKey: "s", Region: "r"})
	s.at(time.Unix(1, 0))
	for _, n := range []int{0, 1, 15, 16, chunkBytes - 1, chunkBytes, chunkBytes + 1, 3 * chunkBytes} {
		if got, want := len(appendSignedChunks(nil, make([]byte, n), s)), chunkedSize(n); got != want {
			t.Errorf("%d bytes: got %d encoded, want %d", n, got, want)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	s := newSigner(Config{AccessKey: "AKID", SecretKey: "secret", Region: "us-east-1"})
	r := &request{method: "GET", host: "127.0.0.1:9000", path: []byte("/bucket/size-4096/o-0000000042"), payloadHash: emptySHA256}
	now := time.Now()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = s.appendHeaders(dst[:0], r, now)
	}
}
