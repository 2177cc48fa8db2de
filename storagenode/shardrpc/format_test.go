package shardrpc

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kintsugi/placement"
	"kintsugi/storagenode/shardstore"
)

var update = flag.Bool("update", false, "write the golden files anew")

var (
	testID     = placement.ShardID{Blob: placement.BlobID{1, 2, 15: 3}, Chunk: 0x01020304, Index: 5}
	testDrive  = placement.DriveID{0xd0, 15: 0xd1}
	testHead   = head{testDrive, 77}
	testHeader = shardstore.Header{ID: testID, Partition: 99, Epoch: 77, K: 4, M: 2, ChunkSize: 8 << 20}
	testInfo   = shardstore.Info{Header: testHeader, Size: 2 << 20, Written: 1700000000}
	testUsage  = shardstore.Usage{CapacityBytes: 1, FreeBytes: 2, UsedBytes: 3, LiveBytes: 4, Shards: 5, Corrupt: 6, Tombstones: 7, Segments: 8, Full: true}
)

// messages are one of each kind, with the decoder that takes it.
var messages = []struct {
	name   string
	bytes  []byte
	want   any
	decode func([]byte) (any, error)
	encode func(any) []byte
}{
	{
		"put", (&putRequest{testDrive, testHeader, 0xabcdef}).append(nil), putRequest{testDrive, testHeader, 0xabcdef},
		func(b []byte) (any, error) { return decodePut(b) },
		func(v any) []byte { r := v.(putRequest); return r.append(nil) },
	},
	{
		"read", (&readRequest{testHead, testID, -1, 4096}).append(nil), readRequest{testHead, testID, -1, 4096},
		func(b []byte) (any, error) { return decodeRead(b) },
		func(v any) []byte { r := v.(readRequest); return r.append(nil) },
	},
	{
		"ids", (&idsRequest{testHead, []placement.ShardID{testID, {}}}).append(nil), idsRequest{testHead, []placement.ShardID{testID, {}}},
		func(b []byte) (any, error) { return decodeIDs(b) },
		func(v any) []byte { r := v.(idsRequest); return r.append(nil) },
	},
	{
		"list", (&listRequest{testHead, 7, testID, 256}).append(nil), listRequest{testHead, 7, testID, 256},
		func(b []byte) (any, error) { return decodeList(b) },
		func(v any) []byte { r := v.(listRequest); return r.append(nil) },
	},
	{
		"digests", (&digestsRequest{testHead, []uint32{0, 1023}}).append(nil), digestsRequest{testHead, []uint32{0, 1023}},
		func(b []byte) (any, error) { return decodeDigests(b) },
		func(v any) []byte { r := v.(digestsRequest); return r.append(nil) },
	},
	{
		"infos", appendInfos(nil, []shardstore.Info{testInfo, testInfo}), []shardstore.Info{testInfo, testInfo},
		func(b []byte) (any, error) { return decodeInfos(b) },
		func(v any) []byte { return appendInfos(nil, v.([]shardstore.Info)) },
	},
	{
		"usage", appendUsage(nil, testUsage), testUsage,
		func(b []byte) (any, error) { return decodeUsage(b) },
		func(v any) []byte { return appendUsage(nil, v.(shardstore.Usage)) },
	},
	{
		"digest", appendDigest(nil, shardstore.Digest{Count: 1, Sum: 2, Bytes: 3, Shards: 4}), []shardstore.Digest{{Count: 1, Sum: 2, Bytes: 3, Shards: 4}},
		func(b []byte) (any, error) { return decodeDigestAnswer(b, 1) },
		func(v any) []byte { return appendDigest(nil, v.([]shardstore.Digest)[0]) },
	},
}

func TestMessages(t *testing.T) {
	for _, m := range messages {
		t.Run(m.name, func(t *testing.T) {
			got, err := m.decode(m.bytes)
			if err != nil || !reflect.DeepEqual(got, m.want) {
				t.Fatalf("got %+v, %v", got, err)
			}
			for _, bad := range [][]byte{nil, m.bytes[:len(m.bytes)-1], append([]byte{formatVersion + 1}, m.bytes[1:]...)} {
				if _, err := m.decode(bad); err == nil && len(bad) > 0 && m.name != "infos" && m.name != "usage" && m.name != "digest" {
					t.Errorf("took %x", bad)
				}
			}
		})
	}
}

// TestGolden holds the format to what the first release wrote.
func TestGolden(t *testing.T) {
	for _, m := range messages {
		name := filepath.Join("testdata", m.name+"-v1.hex")
		if *update {
			if err := os.WriteFile(name, []byte(hex.EncodeToString(m.bytes)+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		old, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.decode(old); err != nil || !reflect.DeepEqual(got, m.want) {
			t.Errorf("%s: %+v, %v", m.name, got, err)
		}
		if !bytes.Equal(old, m.bytes) {
			t.Errorf("%s is written as %x, was %x", m.name, m.bytes, old)
		}
	}
}

func FuzzMessages(f *testing.F) {
	for i, m := range messages {
		f.Add(uint8(i), m.bytes)
	}
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		m := messages[int(kind)%len(messages)]
		v, err := m.decode(b)
		if err != nil {
			return
		}
		if again := m.encode(v); !bytes.Equal(again, b) {
			t.Fatalf("%s: %x became %x", m.name, b, again)
		}
	})
}
