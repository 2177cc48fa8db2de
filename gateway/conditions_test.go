package gateway

import (
	"testing"
	"time"
)

// TestReadConditions goes through the 81 combinations of the four headers being
// absent, true or false (rows 41 to 44).
func TestReadConditions(t *testing.T) {
	const etag = "aaaa"
	modified := time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC)
	before, after := modified.Add(-time.Hour), modified.Add(time.Hour)
	for n := range 81 {
		match, none, since, unmodified := n%3, n/3%3, n/9%3, n/27%3
		var c readConditions
		c.hasMatch, c.hasNoneMatch, c.hasModifiedSince, c.hasUnmodifiedSince = match > 0, none > 0, since > 0, unmodified > 0
		c.match = [...]string{"", `"aaaa"`, `"bbbb"`}[match]
		c.noneMatch = [...]string{"", `"bbbb"`, `"aaaa"`}[none]
		c.modifiedSince = [...]time.Time{{}, before, after}[since]
		c.unmodifiedSince = [...]time.Time{{}, after, before}[unmodified]

		want := proceed
		switch {
		case match == 2, match == 0 && unmodified == 2:
			want = failed
		case none == 2, none == 0 && since == 2:
			want = notModified
		}
		if got, _ := c.judge(etag, modified); got != want {
			t.Errorf("If-Match %d, If-None-Match %d, If-Modified-Since %d, If-Unmodified-Since %d: got %d, want %d",
				match, none, since, unmodified, got, want)
		}
	}
}

func TestConditionsCompareSeconds(t *testing.T) {
	modified := time.Date(2026, 1, 2, 3, 4, 5, 600e6, time.UTC)
	exact, _ := parseHTTPDate("Fri, 02 Jan 2026 03:04:05 GMT")
	c := readConditions{hasModifiedSince: true, modifiedSince: exact}
	if got, _ := c.judge("", modified); got != notModified {
		t.Error("the time that Last-Modified told counts as older than the object")
	}
	c = readConditions{hasUnmodifiedSince: true, unmodifiedSince: exact}
	if got, _ := c.judge("", modified); got != proceed {
		t.Error("the object counts as newer than its own Last-Modified")
	}
}

func TestMatchETag(t *testing.T) {
	tests := []struct {
		name, list string
		want       bool
	}{
		{"quoted", `"abc"`, true},
		{"45 unquoted", `abc`, true},
		{"45 any", `*`, true},
		{"weak", `W/"abc"`, true},
		{"list", `"x", "abc"`, true},
		{"other", `"abcd"`, false},
		{"empty", ``, false},
		{"lone quote", `"`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := matchETag(test.list, "abc"); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
