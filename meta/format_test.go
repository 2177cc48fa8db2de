package meta_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"kintsugi/meta"
)

var update = flag.Bool("update", false, "write the golden files")

func goldenPut() meta.PutObject {
	return meta.PutObject{
		Bucket: "bucket", Key: "a/b", Condition: meta.Condition{IfNoneMatch: true}, Started: 5,
		Version: meta.Version{
			Size: 9, ETag: "e", Modified: time.UnixMilli(1_700_000_000_123).UTC(), RequestID: "r",
			Checksum: meta.Checksum{Algorithm: meta.CRC32C, Value: []byte{1, 2, 3, 4}},
			Headers:  meta.Headers{ContentType: "text/plain", User: map[string]string{"k": "v"}},
			Blobs: []meta.Blob{{
				ID: [16]byte{0, 1, 2}, Size: 9, ChunkSize: 8 << 20, Runs: []meta.Run{{Chunks: 1, K: 4, M: 2, Epoch: 7}},
			}},
		},
	}
}

// TestGolden compares a command of version 1 with the bytes that logs have.
func TestGolden(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_456).UTC()
	got, err := meta.EncodeCommand(meta.OpPutObject, at, goldenPut())
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", "put-object-1.cmd")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	cmd, err := meta.DecodeCommand(want)
	if err != nil {
		t.Fatal(err)
	}
	var put meta.PutObject
	if err := cmd.Into(&put); err != nil {
		t.Fatal(err)
	}
	put.Version.Modified = put.Version.Modified.Round(time.Millisecond).UTC()
	if cmd.Op != meta.OpPutObject || !cmd.Time.Equal(at) || !reflect.DeepEqual(put, goldenPut()) {
		t.Errorf("decoded %v %v %+v", cmd.Op, cmd.Time, put)
	}
}

func TestErrorCodes(t *testing.T) {
	for code := uint16(1); meta.ErrorOf(code) != nil; code++ {
		err := fmt.Errorf("wrapped: %w", meta.ErrorOf(code))
		if got, ok := meta.ErrorCode(err); !ok || got != code {
			t.Errorf("%v: code %d, want %d", err, got, code)
		}
	}
	if _, ok := meta.ErrorCode(errors.New("another")); ok {
		t.Error("a foreign error has a code")
	}
}

// FuzzDecode gives any bytes to the decoders of commands.
func FuzzDecode(f *testing.F) {
	seed, err := meta.EncodeCommand(meta.OpPutObject, time.UnixMilli(1), goldenPut())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		cmd, err := meta.DecodeCommand(data)
		if err != nil {
			return
		}
		var put meta.PutObject
		if cmd.Into(&put) != nil {
			return
		}
		again, err := meta.EncodeCommand(cmd.Op, cmd.Time, put)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := meta.DecodeCommand(again); err != nil {
			t.Fatal(err)
		}
	})
}
