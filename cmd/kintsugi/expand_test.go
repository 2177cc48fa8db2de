package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestExpandDirs(t *testing.T) {
	cases := []struct {
		name string
		args []string
		want []string
		err  string
	}{
		{"one", []string{"/a"}, []string{"/a"}, ""},
		{"a range", []string{"/a/d{1...3}"}, []string{"/a/d1", "/a/d2", "/a/d3"}, ""},
		{"a width", []string{"/d{08...10}"}, []string{"/d08", "/d09", "/d10"}, ""},
		{"two ranges", []string{"/h{1...2}/d{1...2}"}, []string{"/h1/d1", "/h1/d2", "/h2/d1", "/h2/d2"}, ""},
		{"mixed", []string{"/a", "/b{1...2}/x"}, []string{"/a", "/b1/x", "/b2/x"}, ""},
		{"twice", []string{"/a", "/a/"}, nil, "named twice"},
		{"open brace", []string{"/a{1...3"}, nil, "without its }"},
		{"backwards", []string{"/a{3...1}"}, nil, "write a range"},
		{"two dots", []string{"/a{1..3}"}, nil, "write a range"},
		{"too many", []string{"/a{1...1000}"}, nil, "at most"},
		{"too many together", []string{"/a{1...200}", "/b{1...200}"}, nil, "at most"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := expandDirs(c.args)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error = %v, want one with %q", err, c.err)
				}
				return
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("expandDirs = %v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func FuzzExpandRange(f *testing.F) {
	f.Add("/data/d{1...6}")
	f.Add("{0...9}{0...9}")
	f.Fuzz(func(t *testing.T, arg string) {
		if strings.Count(arg, "{") > 2 {
			return // three ranges of 256 are legal and large
		}
		dirs, err := expandRange(arg)
		if err != nil {
			return
		}
		for _, d := range dirs {
			if _, err := filepath.Abs(d); err != nil {
				t.Fatalf("%q expands to %q: %v", arg, d, err)
			}
		}
	})
}
