package gateway

import (
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseTarget(t *testing.T) {
	long := strings.Repeat("k", maxKeyBytes)
	tests := []struct {
		name, uri, host string
		bucket, key     string
		err             error
	}{
		{name: "service", uri: "/"},
		{name: "service with query", uri: "/?x-id=ListBuckets"},
		{name: "bucket", uri: "/b", bucket: "b"},
		{name: "133 bucket with slash", uri: "/b/", bucket: "b"},
		{name: "key", uri: "/b/k", bucket: "b", key: "k"},
		{name: "96 double slash", uri: "/b/a//b", bucket: "b", key: "a//b"},
		{name: "96 leading slash", uri: "/b//a", bucket: "b", key: "/a"},
		{name: "96 dot", uri: "/b/a/./b", bucket: "b", key: "a/./b"},
		{name: "security 18 dots", uri: "/b/../c", bucket: "b", key: "../c"},
		{name: "security 18 escaped dots", uri: "/b/%2e%2e/c", bucket: "b", key: "../c"},
		{name: "security 18 escaped slash", uri: "/b/a%2Fb", bucket: "b", key: "a/b"},
		{name: "security 18 backslash", uri: `/b/a\b`, bucket: "b", key: `a\b`},
		{name: "security 18 zero", uri: "/b/%00", bucket: "b", key: "\x00"},
		{name: "96 trailing slash", uri: "/b/dir/", bucket: "b", key: "dir/"},
		{name: "96 space", uri: "/b/%20", bucket: "b", key: " "},
		{name: "96 plus is no space", uri: "/b/a+b", bucket: "b", key: "a+b"},
		{name: "96 decoded once", uri: "/b/%2541", bucket: "b", key: "%41"},
		{name: "96 question mark and hash", uri: "/b/%3F%23?acl", bucket: "b", key: "?#"},
		{name: "96 emoji", uri: "/b/%F0%9F%99%82", bucket: "b", key: "🙂"},
		{name: "97 longest key", uri: "/b/" + long, bucket: "b", key: long},
		{name: "97 key too long", uri: "/b/" + long + "k", err: errLongKey},
		{name: "98 not UTF-8", uri: "/b/%ff", err: errBadTarget},
		{name: "98 overlong", uri: "/b/%c0%af", err: errBadTarget},
		{name: "bad escape", uri: "/b/%zz", err: errBadTarget},
		{name: "cut escape", uri: "/b/%4", err: errBadTarget},
		{name: "no bucket", uri: "//k", err: errBadTarget},
		{name: "absolute", uri: "http://h:9000/b/k", host: "h:9000", bucket: "b", key: "k"},
		{name: "security 7 absolute with another host", uri: "http://evil/b/k", host: "h:9000", err: errBadTarget},
		{name: "101 virtual host", uri: "/k", host: "b.s3.example:9000", bucket: "b", key: "k"},
		{name: "101 virtual host with dots", uri: "/k/l", host: "a.b.S3.example", bucket: "a.b", key: "k/l"},
		{name: "101 virtual host, bucket alone", uri: "/", host: "b.s3.example", bucket: "b"},
		{name: "101 path style on the domain", uri: "/b/k", host: "s3.example", bucket: "b", key: "k"},
		{name: "101 another domain", uri: "/b/k", host: "evils3.example", bucket: "b", key: "k"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseTarget(test.uri, test.host, []string{"s3.example"})
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if err == nil && (got.bucket != test.bucket || got.key != test.key) {
				t.Errorf("got %q %q, want %q %q", got.bucket, got.key, test.bucket, test.key)
			}
		})
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, uri := range []string{"/", "/b", "/b/k?acl", "/b/%2e%2e/%2F", "http://h/b/k", "/b/a%00\\", "//", "/?%zz"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		got, err := parseTarget(uri, "h", nil)
		if err != nil {
			return
		}
		if !utf8.ValidString(got.key) || len(got.key) > maxKeyBytes || got.path[0] != '/' || strings.Contains(got.bucket, "\xff") {
			t.Fatalf("accepted %q as %+v", uri, got)
		}
		// What was accepted means the same when it is written anew.
		again, err := parseTarget("/"+url.PathEscape(got.bucket)+"/"+url.PathEscape(got.key)+"?"+got.rawQuery, "h", nil)
		if got.bucket != "" && (err != nil || again.bucket != got.bucket || again.key != got.key) {
			t.Fatalf("%q is %q %q, then %q %q, %v", uri, got.bucket, got.key, again.bucket, again.key, err)
		}
	})
}

func TestParseQuery(t *testing.T) {
	tests := []struct {
		name, raw string
		want      query
		err       error
	}{
		{name: "empty"},
		{name: "bare", raw: "acl", want: query{{name: "acl"}}},
		{name: "values", raw: "a=1&b=x%20y&&c=p+q", want: query{{name: "a", value: "1"}, {name: "b", value: "x y"}, {name: "c", value: "p q"}}},
		{name: "security 5 twice", raw: "a=1&a=2", err: errInvalidArgument},
		{name: "twice, escaped", raw: "a=1&%61=2", err: errInvalidArgument},
		{name: "bad escape", raw: "a=%zz", err: errBadTarget},
		{name: "not UTF-8", raw: "a=%ff", err: errBadTarget},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := parseQuery(nil, test.raw)
			if !errors.Is(err, test.err) {
				t.Fatalf("error %v, want %v", err, test.err)
			}
			if err != nil {
				return
			}
			if len(got) != len(test.want) {
				t.Fatalf("got %v, want %v", got, test.want)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Errorf("got %v, want %v", got, test.want)
				}
			}
		})
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, raw := range []string{"", "acl", "a=1&b=%20+x", "a&a", "%zz", "=&=", "list-type=2&prefix=%ff"} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		q, err := parseQuery(nil, raw)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, p := range q {
			if !utf8.ValidString(p.name) || !utf8.ValidString(p.value) {
				t.Fatalf("%q is %q", raw, q)
			}
			again.WriteString("&" + url.QueryEscape(p.name) + "=" + url.QueryEscape(p.value))
		}
		if got, err := parseQuery(nil, again.String()); err != nil || !slices.Equal(got, q) {
			t.Fatalf("%q is %q, then %q, %v", raw, q, got, err)
		}
	})
}

// FuzzOpaque gives any text to the parsers of what only the server itself writes: they take nothing else.
func FuzzOpaque(f *testing.F) {
	f.Add(formatToken("a/key"))
	f.Add(formatVersion(7))
	f.Add(nullVersion)
	f.Fuzz(func(t *testing.T, text string) {
		q, err := parseQuery(nil, "continuation-token="+url.QueryEscape(text))
		if err != nil {
			return
		}
		if after, err := parseToken(q); err == nil && formatToken(after) != text {
			t.Errorf("token %q is taken for %q", text, after)
		}
		if id, err := parseVersion(text); err == nil && formatVersion(id) != text {
			t.Errorf("version %q is taken for %d", text, id)
		}
	})
}

// FuzzTagging gives any text to the parser of x-amz-tagging: what it takes keeps S3's limits.
func FuzzTagging(f *testing.F) {
	f.Add("a=1&b=2")
	f.Add("key=%20")
	f.Fuzz(func(t *testing.T, text string) {
		tags, err := parseTagging(text)
		if err != nil {
			return
		}
		values := url.Values{}
		for key, value := range tags {
			values.Set(key, value)
		}
		again, err := parseTagging(values.Encode())
		if err != nil || !maps.Equal(again, tags) {
			t.Errorf("%q came back as %q, %v", tags, again, err)
		}
	})
}
