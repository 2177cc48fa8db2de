package checksum

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"

	"kintsugi/meta"
)

// TestQuirk35Vectors are known values.
func TestQuirk35Vectors(t *testing.T) {
	for _, tc := range []struct {
		body string
		a    meta.ChecksumAlgorithm
		want string
	}{
		{"hello", meta.NoChecksum, "M3eFcAZSQlc="},
		{"hello world", meta.CRC64NVME, "jSnVw/bqjr4="},
		{"abcdefg", meta.CRC32, "MSpqpg=="},
		{"abcdefg", meta.CRC32C, "5if0QQ=="},
		{"abcdefg", meta.CRC64NVME, "SmzZ/LTp1CA="},
		{"", meta.SHA1, "2jmj7l5rSw0yVb/vlWAYkK/YBwk="},
		{"", meta.SHA256, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
	} {
		t.Run(Name(tc.a)+" of "+tc.body, func(t *testing.T) {
			if got := String(Of(tc.a, []byte(tc.body)).Checksum, 1); got != tc.want {
				t.Errorf("one shot: got %s, want %s", got, tc.want)
			}
			d := NewHasher().New(tc.a, -1)
			defer d.Close()
			d.Write([]byte(tc.body))
			if got := String(d.Sum().Checksum, 1); got != tc.want {
				t.Errorf("digest: got %s, want %s", got, tc.want)
			}
		})
	}
	if got := Of(meta.NoChecksum, nil).ETag(); got != "d41d8cd98f00b204e9800998ecf8427e" {
		t.Errorf("ETag of nothing: %s", got)
	}
}

// headers answers for the lower-case names in it.
type headers map[string]string

func (h headers) lookup(name string) (string, bool) {
	value, ok := h[name]
	return value, ok
}

func code(err error) Code {
	var e *Error
	errors.As(err, &e)
	if e == nil {
		return ""
	}
	return e.Code
}

func TestParse(t *testing.T) {
	const crc = "x-amz-checksum-crc32"
	for _, tc := range []struct {
		name    string
		headers headers
		code    Code
		text    string
	}{
		{"nothing", headers{}, "", ""},
		{"row 29: MD5 not base64", headers{"content-md5": "!"}, InvalidDigest, ""},
		{"row 29: MD5 too short", headers{"content-md5": "YWJj"}, InvalidDigest, ""},
		{"row 32: not base64", headers{crc: "!!"}, InvalidRequest, "Value for x-amz-checksum-crc32 header is invalid."},
		{"row 32: wrong length", headers{crc: "MSpqpqo="}, InvalidRequest, "Value for x-amz-checksum-crc32 header is invalid."},
		{"row 33: two", headers{crc: "MSpqpg==", "x-amz-checksum-crc32c": "5if0QQ=="}, InvalidRequest, "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."},
		{"row 33: header and trailer", headers{crc: "MSpqpg==", "x-amz-trailer": crc}, InvalidRequest, ""},
		{"row 34: named, not sent", headers{"x-amz-sdk-checksum-algorithm": "CRC32"}, InvalidRequest, ""},
		{"row 34: named, sent", headers{"x-amz-sdk-checksum-algorithm": "CRC32", crc: "MSpqpg=="}, "", ""},
		{"row 34: named, in a trailer", headers{"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-trailer": crc}, "", ""},
		{"row 34: another named", headers{"x-amz-sdk-checksum-algorithm": "SHA1", crc: "MSpqpg=="}, InvalidRequest, ""},
		{"row 39: unknown named", headers{"x-amz-sdk-checksum-algorithm": "XXHASH3", crc: "MSpqpg=="}, InvalidRequest, ""},
		{"row 39: unknown sent", headers{"x-amz-checksum-sha512": "MSpqpg=="}, InvalidRequest, ""},
		{"row 32: empty", headers{crc: ""}, InvalidRequest, "Value for x-amz-checksum-crc32 header is invalid."},
		{"row 29: empty", headers{"content-md5": ""}, InvalidDigest, ""},
		{"row 19: unknown trailer", headers{"x-amz-trailer": "x-amz-meta-a"}, InvalidRequest, "The value specified in the x-amz-trailer header is not supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse(tc.headers.lookup)
			if code(err) != tc.code {
				t.Fatalf("got %v, want %q", err, tc.code)
			}
			var e *Error
			if errors.As(err, &e) && tc.text != "" && e.Message != tc.text {
				t.Errorf("message %q", e.Message)
			}
		})
	}
}

func TestVerify(t *testing.T) {
	const right, wrong = "MSpqpg==", "AAAAAA=="
	md5sum := func(s string) string { m := md5.Sum([]byte(s)); return base64.StdEncoding.EncodeToString(m[:]) }
	for _, tc := range []struct {
		name    string
		headers headers
		trailer string
		code    Code
		text    string
	}{
		{"nothing", headers{}, "", "", ""},
		{"MD5", headers{"content-md5": md5sum("abcdefg")}, "", "", ""},
		{"row 30: MD5", headers{"content-md5": md5sum("abc")}, "", BadDigest, "The Content-MD5 you specified did not match what we received."},
		{"header", headers{"x-amz-checksum-crc32": right}, "", "", ""},
		{"row 31: header", headers{"x-amz-checksum-crc32": wrong}, "", BadDigest, "The crc32 you specified did not match the calculated checksum."},
		{"trailer", headers{"x-amz-trailer": "x-amz-checksum-crc32"}, right, "", ""},
		{"row 31: trailer", headers{"x-amz-trailer": "x-amz-checksum-crc32"}, wrong, BadDigest, ""},
		{"row 32: trailer", headers{"x-amz-trailer": "x-amz-checksum-crc32"}, "?", InvalidRequest, ""},
		{"no trailer", headers{"x-amz-trailer": "x-amz-checksum-crc32"}, "", InvalidRequest, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, err := Parse(tc.headers.lookup)
			if err != nil {
				t.Fatal(err)
			}
			err = e.Verify(Of(e.Algorithm, []byte("abcdefg")), tc.trailer)
			if code(err) != tc.code {
				t.Fatalf("got %v, want %q", err, tc.code)
			}
			var c *Error
			if errors.As(err, &c) && tc.text != "" && c.Message != tc.text {
				t.Errorf("message %q", c.Message)
			}
		})
	}
}

// TestQuirk37MultipartTypes is the table of algorithms and types that go together.
func TestQuirk37MultipartTypes(t *testing.T) {
	for _, tc := range []struct {
		algorithm, wish string
		composite, ok   bool
	}{
		{"", "", false, true}, {"", Composite, false, false}, {"", FullObject, false, false},
		{"CRC32", "", true, true}, {"CRC32", Composite, true, true}, {"CRC32", FullObject, false, true},
		{"CRC32C", "", true, true}, {"CRC32C", Composite, true, true}, {"CRC32C", FullObject, false, true},
		{"CRC64NVME", "", false, true}, {"CRC64NVME", Composite, false, false}, {"CRC64NVME", FullObject, false, true},
		{"SHA1", "", true, true}, {"SHA1", Composite, true, true}, {"SHA1", FullObject, false, false},
		{"SHA256", "", true, true}, {"SHA256", Composite, true, true}, {"SHA256", FullObject, false, false},
		{"sha256", "composite", true, true}, {"SHA256", "HALF", false, false},
	} {
		t.Run(tc.algorithm+" "+tc.wish, func(t *testing.T) {
			a, err := Algorithm(tc.algorithm)
			if err != nil {
				t.Fatal(err)
			}
			composite, err := MultipartType(a, tc.wish)
			if (err == nil) != tc.ok || err == nil && composite != tc.composite {
				t.Errorf("got %v, %v", composite, err)
			}
		})
	}
	if _, err := Algorithm("MD4"); code(err) != InvalidRequest {
		t.Errorf("unknown algorithm: %v", err)
	}
}

// TestMultipart cuts random bytes and compares with the whole.
func TestMultipart(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		body := make([]byte, r.IntN(4096))
		for i := range body {
			body[i] = byte(r.Uint32())
		}
		for _, a := range []meta.ChecksumAlgorithm{meta.CRC32, meta.CRC32C, meta.CRC64NVME} {
			var parts []meta.Part
			var sums []byte
			for rest := body; len(parts) == 0 || len(rest) > 0; {
				cut := rest[:r.IntN(len(rest)+1)]
				rest = rest[len(cut):]
				s := Of(a, cut)
				parts = append(parts, meta.Part{Size: int64(len(cut)), ETag: s.ETag(), Checksum: s.Checksum})
				sums = append(sums, s.Checksum.Value...)
			}
			whole, err := Multipart(a, false, parts)
			if want := Of(a, body).Checksum; err != nil || !bytes.Equal(whole.Value, want.Value) {
				t.Fatalf("%s of %d parts: got %x, want %x (%v)", Name(a), len(parts), whole.Value, want.Value, err)
			}
			if a == meta.CRC64NVME {
				continue
			}
			c, err := Multipart(a, true, parts)
			if want := Of(a, sums).Checksum; err != nil || !c.Composite || !bytes.Equal(c.Value, want.Value) {
				t.Fatalf("composite %s: %x, %v", Name(a), c.Value, err)
			}
		}
	}
	if _, err := Multipart(meta.SHA256, false, []meta.Part{{Checksum: Of(meta.SHA256, nil).Checksum}}); !errors.Is(err, ErrParts) {
		t.Errorf("full object of SHA-256: %v", err)
	}
	if _, err := Multipart(meta.CRC32, false, []meta.Part{{Checksum: Of(meta.CRC32C, nil).Checksum}}); !errors.Is(err, ErrParts) {
		t.Errorf("mixed algorithms: %v", err)
	}
}

func TestMultipartETag(t *testing.T) {
	part := meta.Part{ETag: "d41d8cd98f00b204e9800998ecf8427e"}
	got, err := MultipartETag([]meta.Part{part})
	if want := "59adb24ef3cdbe0297f05b395827453f-1"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if got := String(meta.Checksum{Composite: true, Value: []byte{1}}, 3); got != "AQ==-3" {
		t.Errorf("composite: %s", got)
	}
}

// TestManyStreams runs more Digests at once than one after the other would be worth, some of which are given up
// half-way, and again on the lanes that those left.
func TestManyStreams(t *testing.T) {
	h := NewHasher()
	defer h.Close()
	for round := range 3 {
		var wg sync.WaitGroup
		for i := range 2 * simdLanes {
			wg.Go(func() {
				body := bytes.Repeat([]byte{byte(i)}, 300_001+i+round)
				d := h.New(meta.CRC32C, -1)
				defer d.Close()
				if i%5 == round {
					d.Write(body[:100_000])
					return
				}
				for rest := body; len(rest) > 0; rest = rest[min(len(rest), 70_000):] {
					d.Write(rest[:min(len(rest), 70_000)])
				}
				want := Of(meta.CRC32C, body)
				if got := d.Sum(); got.ETag() != want.ETag() || !bytes.Equal(got.Checksum.Value, want.Checksum.Value) {
					t.Errorf("round %d, stream %d: got %s, want %s", round, i, got.ETag(), want.ETag())
				}
			})
		}
		wg.Wait()
		if n := h.active.Load(); n != 0 {
			t.Errorf("%d digests left", n)
		}
		if h.lanes > simdLanes {
			t.Errorf("%d lanes, want at most %d", h.lanes, simdLanes)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("MSpqpg==", "", "", "CRC32")
	f.Add("", "1B2M2Y8AsgTpgAmY7PhCfg==", "x-amz-checksum-sha1", "SHA1")
	f.Fuzz(func(t *testing.T, crc, md5, trailer, name string) {
		sent := headers{"x-amz-checksum-crc32": crc, "content-md5": md5, "x-amz-trailer": trailer, "x-amz-sdk-checksum-algorithm": name}
		maps.DeleteFunc(sent, func(_, value string) bool { return value == "" })
		e, err := Parse(sent.lookup)
		if err != nil {
			return
		}
		if e.GivenChecksum() != (crc != "" || trailer != "") {
			t.Fatal("a checksum that was sent is not expected")
		}
		if crc != "" && String(meta.Checksum{Value: e.value}, 0) != crc {
			t.Fatalf("%q does not come back", crc)
		}
		_ = e.Verify(Of(e.Algorithm, nil), crc)
	})
}

func BenchmarkDigest(b *testing.B) {
	body := make([]byte, 1<<20)
	for _, streams := range []int{1, 4, 8, 16} {
		b.Run(map[int]string{1: "1", 4: "4", 8: "8", 16: "16"}[streams], func(b *testing.B) {
			h := NewHasher()
			defer h.Close()
			b.SetBytes(int64(streams * 10 * len(body)))
			for b.Loop() {
				var wg sync.WaitGroup
				for range streams {
					d := h.New(meta.NoChecksum, -1)
					wg.Go(func() {
						defer d.Close()
						for range 10 {
							d.Write(body)
						}
						d.Sum()
					})
				}
				wg.Wait()
			}
		})
	}
}

func BenchmarkOf(b *testing.B) {
	body := make([]byte, 4096)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		Of(meta.NoChecksum, body)
	}
}
