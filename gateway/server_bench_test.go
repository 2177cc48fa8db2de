package gateway

import (
	"fmt"
	"io"
	"net/http"
	"testing"
)

// benchmarkRaw sends one signed request over and over on one connection. The client does next to nothing,
// so that the time is the server's.
func benchmarkRaw(b *testing.B, s *testServer, text string, size int64) {
	w := s.dial()
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		w.write(text)
		response, err := http.ReadResponse(w.r, nil)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, response.Body)
		if err != nil || response.StatusCode != 200 {
			b.Fatalf("%d bytes, status %d, %v", n, response.StatusCode, err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{4 << 10, 128 << 10, 10 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := withBucket(b)
			s.put("/bucket/key", pattern(size))
			benchmarkRaw(b, s, s.signedHeader("GET", "/bucket/key", "")+"\r\n", int64(size))
		})
	}
}

func BenchmarkHead(b *testing.B) {
	s := withBucket(b)
	s.put("/bucket/key", "x")
	w := s.dial()
	text := s.signedHeader("HEAD", "/bucket/key", "") + "\r\n"
	b.ReportAllocs()
	for b.Loop() {
		w.write(text)
		if got := w.answer("HEAD"); got == nil || got.status != 200 {
			b.Fatalf("%+v", got)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 128 << 10, 10 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := withBucket(b)
			header := s.signedHeader("PUT", "/bucket/key", unsigned) + fmt.Sprintf("Content-Length: %d\r\n\r\n", size)
			benchmarkRaw(b, s, header+pattern(size), int64(size))
		})
	}
}

func BenchmarkList(b *testing.B) {
	s := withBucket(b)
	for i := range 1000 {
		s.put(fmt.Sprintf("/bucket/photos/2026/%08d.jpeg", i), "")
	}
	text := s.signedHeader("GET", "/bucket?list-type=2", "") + "\r\n"
	benchmarkRaw(b, s, text, 1000)
}
