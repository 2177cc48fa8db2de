package membership

import (
	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

// Methods of this package.
const (
	MethodHello rpc.Method = 1 // Hello -> Hello; among the seeds, and by anyone who looks for the cluster
	MethodBeat  rpc.Method = 2 // Beat -> Answer; held for up to HoldTime unless there is news
)

// Format is the version of the records below, all CBOR with integer keys. A reader ignores keys that it does not
// know, and takes those that it misses as zero.
const Format = 1

// Node is a process of the cluster.
type Node struct {
	Name        string   `cbor:"1,keyasint"`
	Incarnation uint64   `cbor:"2,keyasint"` // random, of the process
	Addr        string   `cbor:"3,keyasint"` // host:port of its rpc
	S3          string   `cbor:"4,keyasint,omitempty"`
	Admin       string   `cbor:"5,keyasint,omitempty"`
	Zone        string   `cbor:"6,keyasint,omitempty"`
	Roles       rpc.Role `cbor:"7,keyasint"`
	Host        uint64   `cbor:"8,keyasint,omitempty"` // id of its metadata replica, 0: none
	Release     string   `cbor:"9,keyasint,omitempty"` // of the software
}

// Founding is what the founder decides once. It is kept by every metadata node that was there.
type Founding struct {
	Format     uint8               `cbor:"1,keyasint"`
	Cluster    placement.ClusterID `cbor:"2,keyasint"`
	Partitions int                 `cbor:"3,keyasint"`
	Groups     int                 `cbor:"4,keyasint"`
	K          int                 `cbor:"5,keyasint"` // 0: by the number of drives when the first map is made
	M          int                 `cbor:"6,keyasint"`
	Voters     []uint64            `cbor:"7,keyasint"` // hosts of the first voters
	Seeds      int                 `cbor:"8,keyasint"` // how many metadata nodes were named
}

// Hello is how processes find each other before there is a leader.
type Hello struct {
	Format   uint8     `cbor:"1,keyasint"`
	Node     Node      `cbor:"2,keyasint"`
	Seeds    []string  `cbor:"3,keyasint"`           // its --join list
	Founding *Founding `cbor:"4,keyasint,omitempty"` // of the cluster that it belongs to, if any
	K        int       `cbor:"5,keyasint,omitempty"` // its --ec, if given
	M        int       `cbor:"6,keyasint,omitempty"`
	Peers    []Node    `cbor:"7,keyasint,omitempty"` // others that it knows
	Leader   string    `cbor:"8,keyasint,omitempty"` // address of the coordinator, if known
	Drives   int       `cbor:"9,keyasint,omitempty"` // directories that it was given
}

// DriveReport is a drive as its node sees it.
type DriveReport struct {
	ID       placement.DriveID `cbor:"1,keyasint"`
	Dir      string            `cbor:"2,keyasint"`
	Capacity uint64            `cbor:"3,keyasint,omitempty"` // bytes
	Free     uint64            `cbor:"4,keyasint,omitempty"`
	Used     uint64            `cbor:"5,keyasint,omitempty"`
	Live     uint64            `cbor:"6,keyasint,omitempty"`
	Shards   uint64            `cbor:"7,keyasint,omitempty"`
	Corrupt  uint64            `cbor:"8,keyasint,omitempty"`
	Fresh    bool              `cbor:"9,keyasint,omitempty"`  // made in this process of an empty directory
	Scrubbed uint64            `cbor:"10,keyasint,omitempty"` // Orders.ScrubSerial of the last scrub that is done
}

// Clean reports partitions whose homes are complete under the map of an epoch.
type Clean struct {
	Epoch      uint64   `cbor:"1,keyasint"`
	Partitions []uint32 `cbor:"2,keyasint"`
}

// Repair sums up the reconcilers of a node. Counters are since the start of the process.
type Repair struct {
	PendingShards     int     `cbor:"1,keyasint,omitempty"`
	PendingPartitions int     `cbor:"2,keyasint,omitempty"`
	BytesPerSecond    float64 `cbor:"3,keyasint,omitempty"`
	ETASeconds        float64 `cbor:"4,keyasint,omitempty"` // negative: nothing moves
	ReadBytes         uint64  `cbor:"5,keyasint,omitempty"`
	WrittenBytes      uint64  `cbor:"6,keyasint,omitempty"`
}

// Orders are what an operator wants of all nodes. The highest Serial counts; every process keeps and passes on the
// newest that it saw, so that they survive a change of the coordinator.
type Orders struct {
	Serial       uint64 `cbor:"1,keyasint"`
	RepairLimit  int64  `cbor:"2,keyasint,omitempty"` // bytes per second and drive; 0: the default
	ScrubSerial  uint64 `cbor:"3,keyasint,omitempty"` // a change starts a scrub of everything
	RepairSerial uint64 `cbor:"4,keyasint,omitempty"` // a change compares every shard anew
}

// Beat is a heartbeat.
type Beat struct {
	Format     uint8         `cbor:"1,keyasint"`
	Node       Node          `cbor:"2,keyasint"`
	Drives     []DriveReport `cbor:"3,keyasint,omitempty"`
	Epoch      uint64        `cbor:"4,keyasint"` // of the map that it has
	Table      uint64        `cbor:"5,keyasint"` // Answer.Table that it has
	Clean      []Clean       `cbor:"6,keyasint,omitempty"`
	OldestRead int64         `cbor:"7,keyasint,omitempty"` // Unix ms of the start of the oldest read under way, 0: none
	Repair     Repair        `cbor:"8,keyasint,omitempty"`
	Leads      int           `cbor:"9,keyasint,omitempty"` // metadata groups that it leads
	Orders     Orders        `cbor:"10,keyasint"`

	Cluster placement.ClusterID `cbor:"11,keyasint"`           // that it belongs to; zero: none yet
	Leaving bool                `cbor:"12,keyasint,omitempty"` // it stops: the last beat of the process
}

// Peer is a node as the coordinator sees it.
type Peer struct {
	Node   Node                `cbor:"1,keyasint"`
	Up     bool                `cbor:"2,keyasint"` // its lease has not ended
	Drives []placement.DriveID `cbor:"3,keyasint,omitempty"`
}

// Answer is what the coordinator says to a Beat.
type Answer struct {
	Format   uint8               `cbor:"1,keyasint"`
	Lease    int64               `cbor:"2,keyasint"`           // milliseconds from when the beat was sent; shards are written under it
	Refused  string              `cbor:"3,keyasint,omitempty"` // why the node may not take part; no lease then
	Leader   string              `cbor:"4,keyasint,omitempty"` // set and nothing else: ask there
	Epoch    uint64              `cbor:"5,keyasint"`
	Map      []byte              `cbor:"6,keyasint,omitempty"` // CBOR of a placement.Map, if newer than the beat's
	Table    uint64              `cbor:"7,keyasint"`           // random base + version of Peers
	Peers    []Peer              `cbor:"8,keyasint,omitempty"` // all of them, if Table is not the beat's
	Twice    []placement.DriveID `cbor:"9,keyasint,omitempty"` // drives that another live node has: stop using them
	Founding Founding            `cbor:"10,keyasint"`
	Orders   Orders              `cbor:"11,keyasint"`
	Ripe     int64               `cbor:"12,keyasint,omitempty"` // Unix ms: garbage queued before may be removed
}
