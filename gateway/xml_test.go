package gateway

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"
)

func TestParseXML(t *testing.T) {
	deep := strings.Repeat("<a>", 40) + strings.Repeat("</a>", 40)
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"plain", `<Delete><Object><Key>a</Key></Object><Object><Key>b</Key></Object></Delete>`, true},
		{"namespace and declaration", `<?xml version="1.0" encoding="UTF-8"?><Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a</Key></Object></Delete>`, true},
		{"127 escaped key", `<Delete><Object><Key>&lt;&amp;&#13; x</Key></Object></Delete>`, true},
		{"space around", "\n<Delete></Delete>\n", true},
		{"empty", "", false},
		{"other root", `<Create></Create>`, false},
		{"security 31 DTD", `<!DOCTYPE x [<!ENTITY a "b">]><Delete></Delete>`, false},
		{"security 31 entity", `<Delete><Object><Key>&a;</Key></Object></Delete>`, false},
		{"security 31 depth", `<Delete>` + deep + `</Delete>`, false},
		{"security 31 encoding", `<?xml version="1.0" encoding="UTF-16"?><Delete></Delete>`, false},
		{"security 31 duplicate element", `<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>`, false},
		{"security 31 trailing garbage", `<Delete></Delete>x`, false},
		{"security 31 two roots", `<Delete></Delete><Delete></Delete>`, false},
		{"security 31 processing instruction", `<Delete><?php x?></Delete>`, false},
		{"not UTF-8", "<Delete>\xff</Delete>", false},
		{"cut", `<Delete><Object>`, false},
		{"crossed", `<Delete><Object></Delete></Object>`, false},
		{"only an end", `</Delete>`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var d deleteRequest
			if err := parseXML([]byte(test.text), &d, "Object"); (err == nil) != test.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzParseXML(f *testing.F) {
	f.Add([]byte(`<Delete><Quiet>true</Quiet><Object><Key>a</Key><VersionId>null</VersionId></Object></Delete>`))
	f.Add([]byte(`<Delete><Object><Key>&#xA;]]&gt;</Key></Object></Delete>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var d deleteRequest
		if parseXML(data, &d, "Object") != nil {
			return
		}
		for _, o := range d.Objects {
			if o.Key != nil {
				roundTrip(t, *o.Key)
			}
		}
	})
}

// roundTrip writes a text and reads it back with a foreign parser.
func roundTrip(t *testing.T, text string) {
	t.Helper()
	d := newDocument("R")
	defer d.free()
	d.text("T", text)
	d.close("R")
	var got struct{ T string }
	if err := xml.Unmarshal(d.buf, &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	if representable(text) && got.T != text {
		t.Fatalf("%q reads back as %q", text, got.T)
	}
}

func TestDocumentEscapes(t *testing.T) {
	for _, text := range []string{"", "a", "<&>\"'", "a\r\nb\tc", "\x00\x01", "é🙂", "]]>", "\uFFFE"} {
		roundTrip(t, text)
	}
}

func TestAppendTime(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.FixedZone("x", 3600))
	if got, want := string(appendTime(nil, at)), "2026-01-02T02:04:05.000Z"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAppendURLEncoded(t *testing.T) {
	got := string(appendURLEncoded(nil, "a/b c+d%é\x01~-_."))
	if want := "a/b%20c%2Bd%25%C3%A9%01~-_."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestVersionText(t *testing.T) {
	for _, text := range []string{"null", "00000000000000ff", "fedcba9876543210"} {
		id, err := parseVersion(text)
		if err != nil || formatVersion(id) != text {
			t.Errorf("%s: %v, %v", text, id, err)
		}
	}
	for _, text := range []string{"", "0000000000000000", "ff", "00000000000000FF", "+0000000000000ff", "00000000000000fg"} {
		if _, err := parseVersion(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestBucketNames(t *testing.T) {
	long := strings.Repeat("b", 63)
	for _, name := range []string{"abc", "a-b", "a.b.c", "1.2.3", "123", long, "1.2.3.4a"} {
		if !validBucketName(name) {
			t.Errorf("%q was refused", name)
		}
	}
	for _, name := range []string{"", "ab", "Abc", "a_b", "-ab", "ab-", ".ab", "ab.", "a..b", "1.2.3.4", long + "b", "a/b", "a b", "xn--abc", "é12"} {
		if validBucketName(name) {
			t.Errorf("%q was accepted", name)
		}
	}
}

func TestStoredEncoding(t *testing.T) {
	for value, want := range map[string]string{"": "", "gzip": "gzip", "aws-chunked": "", "gzip,aws-chunked": "gzip", "aws-chunked, gzip": "gzip"} {
		if got := storedEncoding(value); got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}

func BenchmarkDocument(b *testing.B) {
	key := strings.Repeat("photos/2026/", 3) + "image.jpeg"
	at := time.Now()
	for b.Loop() {
		d := newDocument("R")
		for range 1000 {
			d.open("Contents")
			d.text("Key", key)
			d.time("LastModified", at)
			d.etag("d41d8cd98f00b204e9800998ecf8427e")
			d.int("Size", 12345)
			d.text("StorageClass", "STANDARD")
			d.close("Contents")
		}
		if bytes.HasSuffix(d.buf, []byte("x")) {
			b.Fatal("unexpected")
		}
		d.free()
	}
}
