package sigv4

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	md5simd "github.com/minio/md5-simd"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// upload is a request with a body that tests may damage.
type upload struct {
	request *Request
	encoded []byte
	length  int64 // Content-Length; -1 none
}

func hexSHA(p []byte) string {
	sum := sha256.Sum256(p)
	return hex.EncodeToString(sum[:])
}

// plainUpload is signed over its hash.
func plainUpload(t testing.TB, body []byte) *upload {
	r := signed(t, "PUT", "http://h/b/k", hexSHA(body))
	return &upload{received(r), body, int64(len(body))}
}

func crc(p []byte) string {
	sum := crc32.ChecksumIEEE(p)
	return base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// unsignedUpload has an unsigned trailer, as the SDKs send over TLS.
func unsignedUpload(t testing.TB, body []byte, chunk int) *upload {
	r := signed(t, "PUT", "http://h/b/k", streamingUnsigned, "X-Amz-Trailer", "x-amz-checksum-crc32",
		"X-Amz-Decoded-Content-Length", strconv.Itoa(len(body)), "Content-Encoding", "aws-chunked")
	var b bytes.Buffer
	for rest := body; len(rest) > 0; {
		part := rest[:min(chunk, len(rest))]
		rest = rest[len(part):]
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(part), part)
	}
	fmt.Fprintf(&b, "0\r\nx-amz-checksum-crc32:%s\r\n\r\n", crc(body))
	return &upload{received(r), b.Bytes(), -1}
}

// signedUpload has signed chunks of the given size and perhaps a signed trailer.
func signedUpload(t testing.TB, body []byte, chunk int, trailer bool) *upload {
	payload, headers := streamingSigned, []string{"X-Amz-Decoded-Content-Length", strconv.Itoa(len(body))}
	if trailer {
		payload = streamingSignedTrailer
		headers = append(headers, "X-Amz-Trailer", "x-amz-checksum-crc32")
	}
	r := received(signed(t, "PUT", "http://h/b/k", payload, headers...))
	s := newScratch()
	if err := s.load(r); err != nil {
		t.Fatal(err)
	}
	authorization := s.header("authorization")
	previous := authorization[strings.LastIndex(authorization, "=")+1:]
	c := &claim{date: "20130524", region: "us-east-1", service: "s3"}
	key := derive(c, exampleSecret)
	sign := func(algorithm, middle string, p []byte) string {
		mac := key.mac()
		fmt.Fprintf(mac, "%s\n20130524T000000Z\n%s\n%s\n%s%s", algorithm, key.scope, previous, middle, hexSHA(p))
		previous = hex.EncodeToString(mac.Sum(nil))
		return previous
	}
	var b bytes.Buffer
	for rest := body; ; {
		part := rest[:min(chunk, len(rest))]
		rest = rest[len(part):]
		fmt.Fprintf(&b, "%x;chunk-signature=%s\r\n", len(part), sign("AWS4-HMAC-SHA256-PAYLOAD", emptyHash, part))
		if len(part) == 0 {
			break
		}
		b.Write(part)
		b.WriteString("\r\n")
	}
	if trailer {
		line := "x-amz-checksum-crc32:" + crc(body) + "\n"
		fmt.Fprintf(&b, "%s\r\nx-amz-trailer-signature:%s\r\n", strings.TrimSuffix(line, "\n"), sign("AWS4-HMAC-SHA256-TRAILER", "", []byte(line)))
	}
	b.WriteString("\r\n")
	return &upload{r, b.Bytes(), int64(b.Len())}
}

// open authenticates u and returns its body, read through wrap.
func (u *upload) open(wrap func(io.Reader) io.Reader) (*Body, error) {
	auth, err := newVerifier(exampleTime).Authenticate(u.request)
	if err != nil {
		return nil, err
	}
	return auth.Body(wrap(bytes.NewReader(u.encoded)), u.length)
}

func (u *upload) read() ([]byte, *Body, error) {
	b, err := u.open(func(r io.Reader) io.Reader { return r })
	if err != nil {
		return nil, nil, err
	}
	got, err := io.ReadAll(b)
	return got, b, err
}

func random(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// TestBodyForms reads every form in every size class, through readers of every kind.
func TestBodyForms(t *testing.T) {
	readers := map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "half": iotest.HalfReader, "with EOF": iotest.DataErrReader, "byte": iotest.OneByteReader,
	}
	for _, size := range []int{0, 1, minChunk - 1, minChunk, minChunk + 1, 3 * minChunk, 200_000} {
		body := random(size)
		forms := map[string]*upload{
			"hash":           plainUpload(t, body),
			"unsigned":       unsignedUpload(t, body, minChunk),
			"unsigned, big":  unsignedUpload(t, body, 1<<20),
			"signed":         signedUpload(t, body, 65536, false),
			"signed trailer": signedUpload(t, body, minChunk, true),
		}
		for form, u := range forms {
			for kind, wrap := range readers {
				t.Run(fmt.Sprintf("%d %s %s", size, form, kind), func(t *testing.T) {
					b, err := u.open(wrap)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(b)
					if err != nil || !bytes.Equal(got, body) || b.DecodedLength() != int64(size) {
						t.Fatalf("read %d of %d bytes (announced %d): %v", len(got), size, b.DecodedLength(), err)
					}
					if want := crc(body); strings.HasPrefix(form, "unsigned") && b.Trailer("x-amz-checksum-crc32") != want {
						t.Errorf("trailer %q, want %q", b.Trailer("x-amz-checksum-crc32"), want)
					}
				})
			}
		}
	}
}

// newSHA is what minio-go hashes chunks with.
type newSHA struct{ *sha }
type sha struct{ bytes.Buffer }

func (s *sha) Sum(b []byte) []byte { h := sha256.Sum256(s.Bytes()); return append(b, h[:]...) }
func (s *sha) Size() int           { return sha256.Size }
func (s *sha) BlockSize() int      { return sha256.BlockSize }
func (s *sha) Close()              {}

var _ md5simd.Hasher = newSHA{}

// TestMinioStreams reads what minio-go sends.
func TestMinioStreams(t *testing.T) {
	for _, size := range []int{0, 1, 65536, 150_000} {
		for _, trailer := range []bool{false, true} {
			t.Run(fmt.Sprint(size, trailer), func(t *testing.T) {
				body := random(size)
				r, err := http.NewRequest("PUT", "http://h/b/k", bytes.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if trailer {
					r.Trailer = http.Header{"X-Amz-Checksum-Crc32": []string{crc(body)}}
				}
				r = signer.StreamingSignV4(r, exampleKey, exampleSecret, "", "us-east-1", int64(size), exampleTime, newSHA{&sha{}})
				encoded, err := io.ReadAll(r.Body)
				if err != nil {
					t.Fatal(err)
				}
				u := &upload{received(r), encoded, r.ContentLength}
				if size == 0 {
					u.length = -1 // package http sends a body of unknown length then
				} else if int64(len(encoded)) != u.length {
					t.Fatalf("minio-go announces %d and sends %d", u.length, len(encoded))
				}
				got, b, err := u.read()
				if err != nil || !bytes.Equal(got, body) {
					t.Fatalf("read %d of %d bytes: %v", len(got), size, err)
				}
				if trailer && b.Trailer("x-amz-checksum-crc32") != crc(body) {
					t.Errorf("trailer %q", b.Trailer("x-amz-checksum-crc32"))
				}
			})
		}
	}
}

// edit changes the encoded body.
type edit func(*upload)

func replace(old, new string) edit {
	return func(u *upload) { u.encoded = bytes.Replace(u.encoded, []byte(old), []byte(new), 1) }
}

func replaceLast(old, new string) edit {
	return func(u *upload) {
		i := bytes.LastIndex(u.encoded, []byte(old))
		u.encoded = append(append(bytes.Clone(u.encoded[:i]), new...), u.encoded[i+len(old):]...)
	}
}

// cut ends the body before the last occurrence of at; Content-Length stays.
func cut(at string) edit {
	return func(u *upload) { u.encoded = u.encoded[:bytes.LastIndex(u.encoded, []byte(at))] }
}

func flip(from int) edit {
	return func(u *upload) { u.encoded = bytes.Clone(u.encoded); u.encoded[from] ^= 1 }
}

func extra(s string) edit {
	return func(u *upload) {
		u.encoded = append(bytes.Clone(u.encoded), s...)
		if u.length >= 0 {
			u.length += int64(len(s))
		}
	}
}

// TestDamagedBodies are bodies that must not be taken for whole ones, whatever the reader.
func TestDamagedBodies(t *testing.T) {
	body := random(3 * minChunk)
	hash := func() *upload { return plainUpload(t, body) }
	unsigned := func() *upload { return unsignedUpload(t, body, minChunk) }
	chunks := func() *upload { return signedUpload(t, body, minChunk, false) }
	trailer := func() *upload { return signedUpload(t, body, minChunk, true) }
	second := 90 + minChunk + 100 // within the second signed chunk
	for _, tc := range []struct {
		name string
		make func() *upload
		edit edit
		code Code
	}{
		{"row 6: hash", hash, flip(5), SHA256Mismatch},
		{"row 6: hash, last byte", hash, flip(len(body) - 1), SHA256Mismatch},
		{"case 15: shorter than announced", hash, func(u *upload) { u.encoded = u.encoded[:100] }, IncompleteBody},
		{"row 14: first chunk", chunks, flip(200), SignatureDoesNotMatch},
		{"row 14: second chunk", chunks, flip(second), SignatureDoesNotMatch},
		{"row 14: last signature", chunks, replaceLast("signature=", "signature=\x00"), SignatureDoesNotMatch},
		{"row 14: no signature", chunks, replace(";chunk-signature=", ";chunk-sicnature="), SignatureDoesNotMatch},
		{"case 13: reordered", chunks, reorder, SignatureDoesNotMatch},
		{"case 13: no final chunk", chunks, cut("0;chunk"), IncompleteBody},
		{"case 13: no final chunk, unsigned", unsigned, cut("0\r\nx-amz"), IncompleteBody},
		{"no trailer", unsigned, cut("x-amz-checksum"), MalformedTrailer},
		{"no trailer but its end", unsigned, func(u *upload) { cut("x-amz-checksum")(u); extra("\r\n")(u) }, MalformedTrailer},
		{"another trailer", unsigned, replace("crc32:", "crc33:"), MalformedTrailer},
		{"case 13: trailer twice", unsigned, replaceLast("\r\n\r\n", "\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), MalformedTrailer},
		{"trailer signature forged", trailer, replace("trailer-signature:", "trailer-signature:0"), SignatureDoesNotMatch},
		{"trailer changed", trailer, replace("==\r\n", "A=\r\n"), SignatureDoesNotMatch},
		{"trailer without signature", trailer, cut("x-amz-trailer-signature"), IncompleteBody},
		{"trailer without signature, chunked", trailer, func(u *upload) { cut("x-amz-trailer-signature")(u); u.length = -1 }, MalformedTrailer},
		{"row 18: longer than announced", unsigned, setLength("24575"), IncompleteBody},
		{"row 18: shorter than announced", unsigned, setLength("24577"), IncompleteBody},
		{"case 13: long chunk line", unsigned, replace("2000\r\n", strings.Repeat("0", maxLine)+"2000\r\n"), InvalidRequest},
		{"case 16: 2^64", unsigned, replace("2000\r\n", "10000000000000000\r\n"), InvalidRequest},
		{"case 16: +", unsigned, replace("2000\r\n", "+2000\r\n"), InvalidRequest},
		{"case 16: extension", unsigned, replace("2000\r\n", "2000;a=b\r\n"), InvalidRequest},
		{"empty size", unsigned, replace("2000\r\n", "\r\n"), InvalidRequest},
		{"no line break after a chunk", unsigned, replaceLast("\r\n2000\r\n", "xx2000\r\n"), InvalidRequest},
		{"bytes after the end", chunks, extra("x"), InvalidRequest},
		{"bytes after the end, chunked", unsigned, extra("x"), InvalidRequest},
		{"bytes after the trailer", trailer, extra("0\r\n"), InvalidRequest},
	} {
		for _, whole := range []bool{false, true} {
			t.Run(fmt.Sprint(tc.name, whole), func(t *testing.T) {
				u := tc.make()
				tc.edit(u)
				b, err := u.open(func(r io.Reader) io.Reader { return r })
				if err == nil && whole { // one who never asks for the end must not get all bytes either
					_, err = io.ReadFull(b, make([]byte, max(0, b.DecodedLength())))
				} else if err == nil {
					_, err = io.ReadAll(b)
				}
				if codeOf(err) != tc.code {
					t.Fatalf("got %v, want %s", err, tc.code)
				}
				if tc.code == IncompleteBody && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Error("not io.ErrUnexpectedEOF")
				}
			})
		}
	}
}

// setLength signs the request anew with another decoded length.
func setLength(n string) edit {
	return func(u *upload) {
		r, _ := http.NewRequest("PUT", "http://h/b/k", nil)
		r.Header.Set("X-Amz-Decoded-Content-Length", n)
		r.Header.Set("X-Amz-Trailer", "x-amz-checksum-crc32")
		r.Header.Set("X-Amz-Content-Sha256", streamingUnsigned)
		u.request = resign(r)
	}
}

// resign signs r with the headers that it has.
func resign(r *http.Request) *Request { return resignWith(r, exampleKey, exampleSecret) }

func resignWith(r *http.Request, key, secret string) *Request {
	r.Header.Set("X-Amz-Date", "20130524T000000Z")
	var names []string
	for name := range r.Header {
		names = append(names, strings.ToLower(name))
	}
	names = append(names, "host")
	in := received(r)
	c := &claim{date: "20130524", region: "us-east-1", service: "s3", time: "20130524T000000Z", signed: strings.Join(names, ";"), payload: r.Header.Get("X-Amz-Content-Sha256")}
	s := newScratch()
	if err := s.load(in); err != nil {
		panic(err)
	}
	s.canonicalRequest(in, c, in.Path)
	s.stringToSign(c)
	mac := derive(c, secret).mac()
	mac.Write(s.toSign)
	in.Headers = append(in.Headers.(lines), Field{"Authorization", algorithm + " Credential=" + key + "/20130524/us-east-1/s3/aws4_request,SignedHeaders=" +
		c.signed + ",Signature=" + hex.EncodeToString(mac.Sum(nil))})
	return in
}

// reorder swaps the first two chunks.
func reorder(u *upload) {
	parts := bytes.SplitAfterN(u.encoded, []byte("2000;chunk-signature="), 4)
	const tag = len("2000;chunk-signature=")
	first, second := parts[1][:len(parts[1])-tag], parts[2][:len(parts[2])-tag]
	if len(parts) == 4 {
		u.encoded = bytes.Join([][]byte{parts[0], second, parts[0], first, parts[0], parts[3]}, nil)
	}
}

// TestFraming is what Body refuses from the headers alone, and what it takes.
func TestFraming(t *testing.T) {
	crcTrailer := []string{"X-Amz-Trailer", "x-amz-checksum-crc32"}
	for _, tc := range []struct {
		name    string
		payload string
		headers []string
		length  int64
		code    Code
	}{
		{"row 17: no decoded length", streamingSigned, nil, 10, MissingContentLength},
		{"row 17: bad decoded length", streamingSigned, []string{"X-Amz-Decoded-Content-Length", "x"}, 10, MissingContentLength},
		{"row 17: negative decoded length", streamingSigned, []string{"X-Amz-Decoded-Content-Length", "-1"}, 10, MissingContentLength},
		{"row 19: no trailer", streamingUnsigned, []string{"X-Amz-Decoded-Content-Length", "1"}, 10, MalformedTrailer},
		{"row 19: unknown trailer", streamingUnsigned, []string{"X-Amz-Decoded-Content-Length", "1", "X-Amz-Trailer", "x-amz-meta-a"}, 10, InvalidRequest},
		{"trailer", streamingUnsigned, append(crcTrailer, "X-Amz-Decoded-Content-Length", "1"), 10, ""},
		{"row 21: Content-Encoding alone", unsignedPayload, []string{"Content-Encoding", "gzip, aws-chunked"}, 10, MissingContentLength},
		{"row 21: Content-Encoding and length", unsignedPayload, []string{"Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "1"}, 10, ""},
		{"row 21: framed and hashed", emptySHA, []string{"X-Amz-Decoded-Content-Length", "1"}, 10, InvalidRequest},
		{"row 22: Content-Encoding of nothing", emptySHA, []string{"Content-Encoding", "aws-chunked"}, 0, ""},
		{"row 22: Content-Encoding of hashed bytes", emptySHA, []string{"Content-Encoding", "aws-chunked"}, 10, ""},
		{"row 21: bad decoded length", unsignedPayload, []string{"Content-Encoding", "aws-chunked", "X-Amz-Decoded-Content-Length", "x"}, 0, MissingContentLength},
		{"row 23: no length, no hash", unsignedPayload, nil, -1, ""},
		{"row 23: no length, hash", emptySHA, nil, -1, ""},
		{"unknown streaming form", "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", nil, 10, InvalidArgument},
	} {
		t.Run(tc.name, func(t *testing.T) {
			auth, err := newVerifier(exampleTime).Authenticate(received(signed(t, "PUT", "http://h/b/k", tc.payload, tc.headers...)))
			if err == nil {
				_, err = auth.Body(strings.NewReader(""), tc.length)
			}
			if codeOf(err) != tc.code {
				t.Fatalf("got %v, want %q", err, tc.code)
			}
		})
	}
}

// TestQuirk20SmallChunk: only the last chunk may be small.
func TestQuirk20SmallChunk(t *testing.T) {
	for _, u := range []*upload{unsignedUpload(t, random(minChunk), 100), signedUpload(t, random(minChunk), 100, false)} {
		if _, _, err := u.read(); codeOf(err) != InvalidChunkSize {
			t.Errorf("got %v", err)
		}
	}
}

// TestUnsignedOverPlain: case 12.
func TestUnsignedOverPlain(t *testing.T) {
	v := newVerifier(exampleTime)
	v.config.UnsignedOnlyOverTLS = true
	for _, secure := range []bool{false, true} {
		r := received(signed(t, "PUT", "http://h/b/k", unsignedPayload))
		r.Secure = secure
		auth, err := v.Authenticate(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := auth.Body(nil, 0); err != nil {
			t.Errorf("nothing is fine: %v", err)
		}
		if _, err := auth.Body(strings.NewReader("a"), 1); (err == nil) != secure {
			t.Errorf("TLS %v: %v", secure, err)
		}
	}
}

// TestChunkAllocations: reading chunks allocates nothing.
func TestChunkAllocations(t *testing.T) {
	u := signedUpload(t, random(64*minChunk), minChunk, false)
	b, err := u.open(func(r io.Reader) io.Reader { return r })
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, minChunk)
	if n := testing.AllocsPerRun(50, func() {
		if _, err := io.ReadFull(b, p); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations per chunk", n)
	}
}

// FuzzFrames feeds arbitrary bytes to the chunk reader: it never hands out more than was
// announced, never a payload that is not in the input, and ends.
func FuzzFrames(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), int64(5), int64(-1))
	f.Add([]byte("2000;chunk-signature=\r\n"), int64(1), int64(3))
	f.Add([]byte("5\n00000\n0\nX-AmZ-CheCksum-CrC32:\n0"), int64(5), int64(32)) // ends where Content-Length does
	f.Fuzz(func(t *testing.T, in []byte, decoded, length int64) {
		if decoded < 0 || decoded > 1<<20 {
			return
		}
		for _, kind := range []payload{payloadUnsignedTrailer, payloadSigned, payloadSignedTrailer} {
			key := derive(&claim{date: "20130524", region: "r", service: "s3"}, "secret")
			auth := &Auth{payload: kind, decoded: decoded, trailer: "x-amz-checksum-crc32", key: key}
			b, err := auth.Body(bytes.NewReader(in), length)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(b)
			if err != nil {
				continue
			}
			if kind.signedChunks() {
				t.Fatal("accepted signatures that nobody made")
			}
			if int64(len(got)) != decoded || length > int64(len(in)) {
				t.Fatalf("%d bytes of %d announced", len(got), decoded)
			}
		}
	})
}

func BenchmarkBody(b *testing.B) {
	body := random(1 << 20)
	for name, u := range map[string]*upload{
		"hash": plainUpload(b, body), "unsigned 1 MiB": unsignedUpload(b, body, 1<<20),
		"signed 64 KiB": signedUpload(b, body, 65536, false),
	} {
		b.Run(name, func(b *testing.B) {
			auth, err := newVerifier(exampleTime).Authenticate(u.request)
			if err != nil {
				b.Fatal(err)
			}
			p := make([]byte, len(body))
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				r, _ := auth.Body(bytes.NewReader(u.encoded), u.length)
				if _, err := io.ReadFull(r, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
