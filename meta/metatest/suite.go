package metatest

import (
	"errors"
	"fmt"
	"testing"

	"kintsugi/meta"
	"kintsugi/placement"
)

// Open returns a client of new, empty groups, which end with the test.
type Open func(testing.TB) *meta.Client

// suite is what every meta.Consensus must let a client do.
var suite = []struct {
	name string
	test func(*testing.T, Open)
}{
	{"Buckets", testBuckets},
	{"DeleteBucket", testDeleteBucket},
	{"Unversioned", testUnversioned},
	{"Versioned", testVersioned},
	{"Suspended", testSuspended},
	{"Conditions", testConditions},
	{"RepeatedRequest", testRepeatedRequest},
	{"DeleteObjects", testDeleteObjects},
	{"Garbage", testGarbage},
	{"Tags", testTags},
	{"ClusterMap", testClusterMap},
	{"BucketConsistency", testBucketConsistency},
	{"Complete", testComplete},
	{"ManyParts", testManyParts},
	{"CopyOfManyParts", testCopyOfManyParts},
	{"CopiedParts", testCopiedParts},
	{"EmptyPart", testEmptyPart},
	{"AbortAndParts", testAbortAndParts},
	{"AbortMany", testAbortMany},
	{"ListUploads", testListUploads},
}

// Run runs the conformance suite of metadata clients on those that open returns.
func Run(t *testing.T, open Open) {
	for _, s := range suite {
		t.Run(s.name, func(t *testing.T) { s.test(t, open) })
	}
}

const bucket = "bucket"

// newClient returns a client with the bucket of the tests.
func newClient(t testing.TB, open Open, versioning meta.Versioning) *meta.Client {
	t.Helper()
	c := open(t)
	must(t, c.CreateBucket(t.Context(), meta.Bucket{Name: bucket, Owner: "me"}))
	setVersioning(t, c, versioning)
	return c
}

func setVersioning(t testing.TB, c *meta.Client, v meta.Versioning) {
	t.Helper()
	if v != meta.Unversioned {
		must(t, c.SetVersioning(t.Context(), bucket, v))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, c *meta.Client, key, body string) meta.Put {
	t.Helper()
	p, err := c.PutObject(t.Context(), inline(key, body))
	must(t, err)
	return p
}

func inline(key, body string) meta.PutObject {
	return meta.PutObject{
		Bucket: bucket, Key: key, Body: []byte(body),
		Version: meta.Version{Size: int64(len(body)), ETag: etag(body)},
	}
}

func etag(body string) string { return fmt.Sprintf("%x", body) }

func get(t testing.TB, c *meta.Client, key string, id *meta.VersionID) (string, error) {
	t.Helper()
	v, err := c.Object(t.Context(), meta.GetObject{Bucket: bucket, Key: key, Version: id, Body: true})
	return string(v.Body), err
}

func wantBody(t testing.TB, c *meta.Client, key string, id *meta.VersionID, want string) {
	t.Helper()
	if got, err := get(t, c, key, id); err != nil || got != want {
		t.Errorf("%s: got %q, %v, want %q", key, got, err, want)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

func remove(t testing.TB, c *meta.Client, key string, id *meta.VersionID) meta.Deleted {
	t.Helper()
	d, err := c.DeleteObject(t.Context(), meta.DeleteObject{Bucket: bucket, Key: key, Version: id})
	must(t, err)
	return d
}

// blob returns a blob of a key with a size.
func blob(c *meta.Client, key string, size int64) meta.Blob {
	return meta.Blob{ID: c.NewBlobID(bucket, key), Size: size, ChunkSize: 8 << 20, Runs: []meta.Run{{Chunks: 1, K: 4, M: 2, Epoch: 1}}}
}

// garbage empties all deletion queues and returns the blobs that were in them.
func garbage(t testing.TB, c *meta.Client) map[placement.BlobID]bool {
	t.Helper()
	blobs := make(map[placement.BlobID]bool)
	for group := range c.Groups() {
		for {
			list, err := c.Garbage(t.Context(), group, 100)
			must(t, err)
			if len(list) == 0 {
				break
			}
			var sequences []uint64
			for _, g := range list {
				blobs[g.Blob.ID] = true
				sequences = append(sequences, g.Sequence)
			}
			must(t, c.Forget(t.Context(), group, sequences))
		}
	}
	return blobs
}
