package membership

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

var update = flag.Bool("update", false, "write the golden files of this version")

func sampleNode() Node {
	return Node{
		Name: "n1", Incarnation: 77, Addr: "10.0.0.1:9002", S3: "10.0.0.1:9000", Admin: "10.0.0.1:9001", Zone: "east",
		Roles: rpc.Storage | rpc.Meta, Host: 9, Release: "0.3",
	}
}

func sampleFounding() Founding {
	return Founding{
		Format: 1, Cluster: placement.ClusterID{1, 2}, Partitions: 1024, Groups: 8, K: 4, M: 2, Voters: []uint64{9, 10, 11}, Seeds: 3,
	}
}

// samples are records with every field set, by the name of their golden file.
func samples() map[string]record {
	f := sampleFounding()
	return map[string]record{
		"founding": &f,
		"hello": &Hello{
			Format: 1, Node: sampleNode(), Seeds: []string{"a:1", "b:1"}, Founding: &f, K: 4, M: 2, Peers: []Node{sampleNode()}, Leader: "a:1", Drives: 4,
		},
		"beat": &Beat{
			Format: 1, Node: sampleNode(), Epoch: 5, Table: 6, OldestRead: 1700000000000, Leads: 2, Cluster: placement.ClusterID{1, 2}, Leaving: true,
			Drives: []DriveReport{{ID: placement.DriveID{7}, Dir: "/d1", Capacity: 100, Free: 50, Used: 40, Live: 30, Shards: 20, Corrupt: 1, Fresh: true}},
			Clean:  []Clean{{Epoch: 5, Partitions: []uint32{1, 2, 1023}}},
			Repair: Repair{PendingShards: 1, PendingPartitions: 2, BytesPerSecond: 3.5, ETASeconds: 4, ReadBytes: 5, WrittenBytes: 6},
			Orders: Orders{Serial: 1, RepairLimit: 2, ScrubSerial: 3, RepairSerial: 4},
		},
		"answer": &Answer{
			Format: 1, Lease: 4000, Refused: "why", Leader: "b:1", Epoch: 5, Map: []byte{1, 2, 3}, Table: 6, Founding: f, Ripe: 1700000000000,
			Peers: []Peer{{Node: sampleNode(), Up: true, Drives: []placement.DriveID{{7}}}}, Twice: []placement.DriveID{{8}},
			Orders: Orders{Serial: 1, RepairLimit: 2, ScrubSerial: 3, RepairSerial: 4},
		},
	}
}

// TestGolden reads what version 1 wrote.
func TestGolden(t *testing.T) {
	for name, want := range samples() {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", name+".v1.cbor")
			if *update {
				if err := os.WriteFile(path, encode(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(record)
			if err := decode(data, got); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v\nwant %+v", got, want)
			}
			if !bytes.Equal(encode(got), data) {
				t.Error("it is written otherwise now")
			}
		})
	}
}

// TestNewerVersion reads a record with keys that this version does not know.
func TestNewerVersion(t *testing.T) {
	data, err := cbor.Marshal(map[int]any{1: 2, 2: map[int]any{1: "n1", 2: 7, 3: "a:1", 99: "?"}, 4: 5, 98: []int{1}})
	if err != nil {
		t.Fatal(err)
	}
	var b Beat
	if err := decode(data, &b); err != nil || b.Format != 2 || b.Node.Name != "n1" || b.Epoch != 5 {
		t.Errorf("%+v, %v", b, err)
	}
}

func FuzzDecode(f *testing.F) {
	for name, r := range samples() {
		f.Add(name, encode(r))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		sample := samples()[name]
		if sample == nil {
			return
		}
		first := reflect.New(reflect.TypeOf(sample).Elem()).Interface().(record)
		if decode(data, first) != nil {
			return
		}
		again := reflect.New(reflect.TypeOf(sample).Elem()).Interface().(record)
		if err := decode(encode(first), again); err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if !bytes.Equal(encode(first), encode(again)) {
			t.Errorf("%+v became %+v", first, again)
		}
	})
}
