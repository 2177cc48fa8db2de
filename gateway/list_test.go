package gateway

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// fill puts small objects with these keys.
func (s *testServer) fill(keys ...string) {
	s.t.Helper()
	for _, key := range keys {
		s.put("/bucket/"+url.PathEscape(key), key)
	}
}

// pages follows the tokens of ListObjectsV2 to the end and returns keys and prefixes in order.
func (s *testServer) pages(query string) (keys, prefixes []string) {
	s.t.Helper()
	token := ""
	for range 100 {
		target := "/bucket?list-type=2&" + query
		if token != "" {
			target += "&continuation-token=" + token
		}
		page := s.get(target).want(200, "")
		keys = append(keys, page.elements("Key")...)
		for i, p := range page.elements("Prefix") {
			if i > 0 { // the first is the one that was asked for
				prefixes = append(prefixes, p)
			}
		}
		next := page.element("NextContinuationToken")
		if truncated := page.element("IsTruncated") == "true"; truncated != (next != "") {
			s.t.Fatalf("row 81: IsTruncated %v, token %q", truncated, next)
		}
		if next == "" {
			return keys, prefixes
		}
		if next == token {
			s.t.Fatal("row 80: the token does not advance")
		}
		token = next
	}
	s.t.Fatal("the listing does not end")
	return nil, nil
}

func TestQuirk77MaxKeysZero(t *testing.T) {
	s := withBucket(t)
	s.fill("a")
	for _, target := range []string{"/bucket?max-keys=0", "/bucket?list-type=2&max-keys=0", "/bucket?versions&max-keys=0"} {
		page := s.get(target).want(200, "")
		if len(page.elements("Key")) != 0 || page.element("IsTruncated") != "false" || page.element("MaxKeys") != "0" {
			t.Errorf("%s: %s", target, page.body)
		}
	}
}

func TestQuirk78BadMaxKeys(t *testing.T) {
	s := withBucket(t)
	for _, bad := range []string{"-1", "x", "1e3", "99999999999999999999"} {
		s.get("/bucket?max-keys="+bad).want(400, "InvalidArgument")
		s.get("/bucket?list-type=2&max-keys="+bad).want(400, "InvalidArgument")
		s.get("/bucket?versions&max-keys="+bad).want(400, "InvalidArgument")
	}
}

func TestQuirk79LongListing(t *testing.T) {
	if testing.Short() {
		t.Skip("puts a thousand objects")
	}
	s := withBucket(t)
	var want []string
	for i := range 1003 {
		want = append(want, fmt.Sprintf("%04d", i))
	}
	s.fill(want...)
	page := s.get("/bucket?list-type=2&max-keys=5000").want(200, "")
	if got := page.elements("Key"); len(got) != 1000 || page.element("MaxKeys") != "1000" || page.element("KeyCount") != "1000" ||
		page.element("IsTruncated") != "true" || page.element("NextContinuationToken") == "" {
		t.Errorf("%d keys, MaxKeys %s", len(got), page.element("MaxKeys"))
	}
	if got, _ := s.pages("max-keys=5000"); !slices.Equal(got, want) {
		t.Errorf("%d keys in all", len(got))
	}
}

func TestQuirk80Tokens(t *testing.T) {
	s := withBucket(t)
	s.fill("a", "b", "c", "d", "e+ &")
	first := s.get("/bucket?list-type=2&max-keys=2&encoding-type=url").want(200, "")
	token := first.element("NextContinuationToken")
	if strings.ContainsAny(token, "%+ ") {
		t.Errorf("the token %q needs encoding", token)
	}
	// The token wins over start-after.
	second := s.get("/bucket?list-type=2&max-keys=2&start-after=d&continuation-token="+token).want(200, "")
	if got := second.elements("Key"); !slices.Equal(got, []string{"c", "d"}) {
		t.Errorf("second page %v", got)
	}
	if second.element("ContinuationToken") != token || second.element("StartAfter") != "d" {
		t.Errorf("the page does not repeat the question: %s", second.body)
	}
	for _, bad := range []string{"x", "a", "%00", "ZZZZ", token + "="} {
		s.get("/bucket?list-type=2&continuation-token="+bad).want(400, "InvalidArgument")
	}
	if got, _ := s.pages("max-keys=1"); !slices.Equal(got, []string{"a", "b", "c", "d", "e+ &"}) {
		t.Errorf("in pages of one: %q", got)
	}
}

func TestQuirk82NextMarker(t *testing.T) {
	s := withBucket(t)
	s.fill("a/1", "a/2", "b", "c/1", "d")
	var got []string
	marker := ""
	for range 10 {
		page := s.get("/bucket?delimiter=/&max-keys=1&marker="+url.QueryEscape(marker)).want(200, "")
		got = append(got, page.elements("Key")...)
		got = append(got, page.elements("Prefix")[1:]...)
		if page.element("Marker") != marker {
			t.Errorf("the page does not repeat the marker: %s", page.body)
		}
		if marker = page.element("NextMarker"); marker == "" {
			break
		}
	}
	if want := []string{"a/", "b", "c/", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// A client that goes on from the last key gets the same.
	page := s.get("/bucket?marker=a/2").want(200, "")
	if got := page.elements("Key"); !slices.Equal(got, []string{"b", "c/1", "d"}) {
		t.Errorf("after a/2: %v", got)
	}
}

func TestQuirk83EncodingType(t *testing.T) {
	s := withBucket(t)
	s.fill("a b/c+d", "ü&")
	page := s.get("/bucket?list-type=2&encoding-type=url&prefix=a%20b&delimiter=%2B&start-after=%20").want(200, "")
	if page.element("EncodingType") != "url" || page.element("Delimiter") != "%2B" || page.element("StartAfter") != "%20" {
		t.Errorf("got %s", page.body)
	}
	if got := page.elements("Prefix"); !slices.Equal(got, []string{"a%20b", "a%20b/c%2B"}) {
		t.Errorf("prefixes %v", got)
	}
	if got := s.get("/bucket?encoding-type=url").elements("Key"); !slices.Equal(got, []string{"a%20b/c%2Bd", "%C3%BC%26"}) {
		t.Errorf("keys %v", got)
	}
	if got := s.get("/bucket?versions&encoding-type=url").elements("Key"); !slices.Equal(got, []string{"a%20b/c%2Bd", "%C3%BC%26"}) {
		t.Errorf("versions %v", got)
	}
	s.get("/bucket?encoding-type=x").want(400, "InvalidArgument")
}

func TestQuirk84ControlCharacters(t *testing.T) {
	s := withBucket(t)
	s.put("/bucket/a%01b", "x")
	s.get("/bucket?list-type=2").want(400, "InvalidArgument")
	s.get("/bucket?versions").want(400, "InvalidArgument")
	if got := s.get("/bucket?list-type=2&encoding-type=url").elements("Key"); !slices.Equal(got, []string{"a%01b"}) {
		t.Errorf("got %v", got)
	}
	s.get("/bucket/a%01b").want(200, "").wantBody("x")
	s.put("/bucket/line%0Abreak%09%0D", "x")
	s.del("/bucket/a%01b").want(204, "")
	if got := s.get("/bucket?list-type=2").elements("Key"); !slices.Equal(got, []string{"line\nbreak\t\r"}) {
		t.Errorf("got %q", got)
	}
}

func TestQuirk85CommonPrefixes(t *testing.T) {
	s := withBucket(t)
	s.fill("a/1", "a/2", "a/3", "b/1", "b/2", "c", "d/e/f")
	page := s.get("/bucket?list-type=2&delimiter=/&max-keys=2").want(200, "")
	if page.element("KeyCount") != "2" || len(page.elements("Key")) != 0 || len(page.elements("Prefix")) != 3 {
		t.Errorf("first page: %s", page.body)
	}
	for limit := 1; limit <= 5; limit++ {
		keys, prefixes := s.pages(fmt.Sprintf("delimiter=/&max-keys=%d", limit))
		if !slices.Equal(keys, []string{"c"}) || !slices.Equal(prefixes, []string{"a/", "b/", "d/"}) {
			t.Errorf("max-keys %d: %v %v", limit, keys, prefixes)
		}
	}
	if _, prefixes := s.pages("delimiter=/&prefix=d/"); !slices.Equal(prefixes, []string{"d/e/"}) {
		t.Errorf("under d/: %v", prefixes)
	}
}

func TestQuirk86Order(t *testing.T) {
	s := withBucket(t)
	s.fill("a/", "a", "a-b", "a/b", "B", "é", "z", "a0", "🙂")
	want := []string{"B", "a", "a-b", "a/", "a/b", "a0", "z", "é", "🙂"}
	if got, _ := s.pages("max-keys=2"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestQuirk87KeysBesideEachOther(t *testing.T) {
	s := withBucket(t)
	s.fill("a", "a/", "a/b", "a/b/c")
	for _, key := range []string{"a", "a/", "a/b", "a/b/c"} {
		s.get("/bucket/"+key).want(200, "").wantBody(key)
	}
	s.del("/bucket/a").want(204, "")
	if got, _ := s.pages(""); !slices.Equal(got, []string{"a/", "a/b", "a/b/c"}) {
		t.Errorf("got %v", got)
	}
}

func TestQuirk88Delimiters(t *testing.T) {
	s := withBucket(t)
	s.fill("aXXb", "aXXc", "a%d", "a e", "f")
	for delimiter, want := range map[string][]string{"XX": {"aXX"}, "%25": {"a%"}, "%20": {"a "}, "a": {"a"}, "nothing": nil} {
		if _, got := s.pages("delimiter=" + delimiter); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", delimiter, got, want)
		}
	}
	keys, prefixes := s.pages("delimiter=")
	if len(keys) != 5 || len(prefixes) != 0 {
		t.Errorf("an empty delimiter folds: %v %v", keys, prefixes)
	}
}

func TestQuirk89ReadAfterWrite(t *testing.T) {
	s := withBucket(t)
	for i := range 20 {
		key := fmt.Sprintf("key-%d", i)
		s.fill(key)
		if got, _ := s.pages("prefix=" + key); len(got) != 1 {
			t.Fatalf("%s is not listed after it was put", key)
		}
		s.del("/bucket/"+key).want(204, "")
		if got, _ := s.pages("prefix=" + key); len(got) != 0 {
			t.Fatalf("%s is listed after it was deleted", key)
		}
	}
}

func TestQuirk92Times(t *testing.T) {
	s := withBucket(t)
	s.fill("a")
	listed := s.get("/bucket?list-type=2").element("LastModified")
	header := s.head("/bucket/a").header.Get("Last-Modified")
	fromHeader, ok := parseHTTPDate(header)
	if !ok || string(appendTime(nil, fromHeader)) != listed {
		t.Errorf("listed %s, header %s", listed, header)
	}
}

func TestQuirk93Entries(t *testing.T) {
	s := withBucket(t)
	s.fill("a")
	page := s.get("/bucket?list-type=2").want(200, "")
	if len(page.elements("Owner")) != 0 || page.element("KeyCount") != "1" || page.element("ChecksumAlgorithm") != "CRC64NVME" ||
		page.element("ChecksumType") != "FULL_OBJECT" || page.element("StorageClass") != "STANDARD" || page.element("Name") != "bucket" {
		t.Errorf("got %s", page.body)
	}
	if got := page.element("ETag"); got != `"0cc175b9c0f1b6a831c399e269772661"` {
		t.Errorf("ETag %s", got)
	}
	if got := s.get("/bucket?list-type=2&fetch-owner=true"); got.element("ID") != testOwner {
		t.Errorf("no owner: %s", got.body)
	}
	if got := s.get("/bucket"); got.element("ID") != testOwner {
		t.Errorf("no owner in the first version: %s", got.body)
	}
	s.get("/missing?list-type=2").want(404, "NoSuchBucket")
	s.get("/missing").want(404, "NoSuchBucket")
	s.get("/bucket?list-type=3").want(400, "InvalidArgument")
}
