package metatest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kintsugi/meta"
)

// model is S3's versioning in the simplest words: per key the versions, newest first.
type model struct {
	versioning meta.Versioning
	keys       map[string][]modelVersion
}

type modelVersion struct {
	id     meta.VersionID
	body   string
	marker bool
}

func (m *model) add(key string, v modelVersion) {
	if m.versioning != meta.VersioningEnabled {
		m.keys[key] = slices.DeleteFunc(m.keys[key], func(old modelVersion) bool { return old.id == 0 })
	}
	m.keys[key] = append([]modelVersion{v}, m.keys[key]...)
}

// names returns the keys that a listing folds and filters, in order: entries are "key" or "prefix*".
func fold(keys []string, prefix, delimiter, after string) []string {
	slices.Sort(keys)
	var out []string
	for _, k := range keys {
		rest, ok := strings.CutPrefix(k, prefix)
		if !ok {
			continue
		}
		name, mark := k, ""
		if i := strings.Index(rest, delimiter); delimiter != "" && i >= 0 {
			name, mark = k[:len(prefix)+i+len(delimiter)], "*"
		}
		if name > after && (len(out) == 0 || out[len(out)-1] != name+mark) || name == "" && after == "" {
			out = append(out, name+mark)
		}
	}
	return out
}

var keyGen = rapid.OneOf(
	rapid.StringOfN(rapid.RuneFrom([]rune{'a', 'b', '/', '\x00'}), 1, 5, -1),
	rapid.SampledFrom([]string{"a", "a/", "a/b", "a\x00b", "a\x00", "a\xff", "\xff\xff", "\xff", "a//", "b/c/d", "é"}),
)

// TestAgainstModel runs random operations on a client and a model, and compares every version and every listing.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClient(t, New, meta.Unversioned)
		m := &model{keys: make(map[string][]modelVersion)}
		n := 0
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				key := keyGen.Draw(rt, "key")
				n++
				body := fmt.Sprint("body", n)
				p := put(t, c, key, body)
				m.add(key, modelVersion{id: p.Version, body: body})
			},
			"delete": func(rt *rapid.T) {
				key := keyGen.Draw(rt, "key")
				d := remove(t, c, key, nil)
				if m.versioning == meta.Unversioned {
					delete(m.keys, key)
					return
				}
				m.add(key, modelVersion{id: d.Version, marker: true})
			},
			"delete version": func(rt *rapid.T) {
				key := keyGen.Draw(rt, "key")
				if len(m.keys[key]) == 0 {
					return
				}
				i := rapid.IntRange(0, len(m.keys[key])-1).Draw(rt, "i")
				remove(t, c, key, &m.keys[key][i].id)
				m.keys[key] = slices.Delete(slices.Clone(m.keys[key]), i, i+1)
			},
			"versioning": func(rt *rapid.T) {
				m.versioning = rapid.SampledFrom([]meta.Versioning{meta.VersioningEnabled, meta.VersioningSuspended}).Draw(rt, "state")
				setVersioning(t, c, m.versioning)
			},
			"": func(rt *rapid.T) { compare(t, rt, c, m) },
		})
	})
}

func compare(t *testing.T, rt *rapid.T, c *meta.Client, m *model) {
	key := keyGen.Draw(rt, "read")
	versions := m.keys[key]
	body, err := get(t, c, key, nil)
	switch {
	case len(versions) == 0 || versions[0].marker:
		if err == nil {
			rt.Fatalf("%q is %q, want none", key, body)
		}
	case err != nil || body != versions[0].body:
		rt.Fatalf("%q is %q, %v, want %q", key, body, err, versions[0].body)
	}
	for _, v := range versions {
		body, err := get(t, c, key, &v.id)
		if !v.marker && (err != nil || body != v.body) {
			rt.Fatalf("%q version %d is %q, %v, want %q", key, v.id, body, err, v.body)
		}
	}
	if !rapid.Bool().Draw(rt, "list") {
		return
	}
	prefix := rapid.SampledFrom([]string{"", "", "a", "a/", "b", "\xff"}).Draw(rt, "prefix")
	delimiter := rapid.SampledFrom([]string{"", "/", "/", "b", "\x00", "//"}).Draw(rt, "delimiter")
	size := rapid.IntRange(1, 8).Draw(rt, "max")
	compareObjects(t, rt, c, m, prefix, delimiter, size)
	compareVersions(t, rt, c, m, prefix, delimiter, size)
}

func compareObjects(t *testing.T, rt *rapid.T, c *meta.Client, m *model, prefix, delimiter string, size int) {
	var keys []string
	for k, v := range m.keys {
		if len(v) > 0 && !v[0].marker {
			keys = append(keys, k)
		}
	}
	after := rapid.SampledFrom([]string{"", "", "a", "a/"}).Draw(rt, "after")
	want := fold(keys, prefix, delimiter, after)
	var got []string
	q := meta.ListObjects{Bucket: bucket, Prefix: prefix, Delimiter: delimiter, After: after, Max: size}
	for {
		page, err := c.Objects(t.Context(), q)
		must(t, err)
		var names []string
		for _, o := range page.Objects {
			names = append(names, o.Key)
		}
		for _, p := range page.Prefixes {
			names = append(names, p+"*")
		}
		slices.SortFunc(names, func(a, b string) int {
			return cmp.Compare(strings.TrimSuffix(a, "*"), strings.TrimSuffix(b, "*"))
		})
		if len(names) > size || page.Truncated && len(names) != size {
			rt.Fatalf("a page of %d, max %d", len(names), size)
		}
		got = append(got, names...)
		if !page.Truncated {
			break
		}
		q.After = page.Next
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("prefix %q, delimiter %q, after %q: got %q, want %q", prefix, delimiter, after, got, want)
	}
}

func compareVersions(t *testing.T, rt *rapid.T, c *meta.Client, m *model, prefix, delimiter string, size int) {
	var want []string
	for _, name := range fold(slices.Collect(maps.Keys(nonEmpty(m.keys))), prefix, delimiter, "") {
		versions, plain := m.keys[name]
		if strings.HasSuffix(name, "*") || !plain {
			want = append(want, name)
			continue
		}
		for i, v := range versions {
			want = append(want, fmt.Sprint(name, v.id, v.marker, i == 0))
		}
	}
	var got []string
	q := meta.ListVersions{Bucket: bucket, Prefix: prefix, Delimiter: delimiter, Max: size}
	for {
		page, err := c.Versions(t.Context(), q)
		must(t, err)
		type named struct{ name, text string }
		var entries []named
		for _, v := range page.Versions {
			entries = append(entries, named{v.Key, fmt.Sprint(v.Key, v.ID, v.DeleteMarker, v.IsLatest)})
		}
		for _, p := range page.Prefixes {
			entries = append(entries, named{p, p + "*"})
		}
		slices.SortStableFunc(entries, func(a, b named) int { return cmp.Compare(a.name, b.name) })
		for _, e := range entries {
			got = append(got, e.text)
		}
		if !page.Truncated {
			break
		}
		q.KeyMarker, q.VersionMarker = page.NextKey, page.NextVersion
	}
	if !slices.Equal(got, want) {
		rt.Fatalf("versions, prefix %q, delimiter %q: got %q, want %q", prefix, delimiter, got, want)
	}
}

func nonEmpty(keys map[string][]modelVersion) map[string][]modelVersion {
	out := make(map[string][]modelVersion)
	for k, v := range keys {
		if len(v) > 0 {
			out[k] = v
		}
	}
	return out
}
