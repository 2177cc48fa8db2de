package admin

import "time"

// Health is how a cluster is, the worst of all that was found.
type Health string

const (
	Healthy     Health = "healthy"
	Degraded    Health = "degraded"    // all data can be read; something is down or lacks redundancy
	AtRisk      Health = "at-risk"     // the next loss would make data or metadata unavailable
	Unavailable Health = "unavailable" // some data or metadata cannot be read now
)

// rank orders healths from good to bad.
func (h Health) rank() int {
	switch h {
	case Degraded:
		return 1
	case AtRisk:
		return 2
	case Unavailable:
		return 3
	}
	return 0
}

// Status is the state of the cluster.
type Status struct {
	Format      int       `json:"format"`
	Time        time.Time `json:"time"`
	Cluster     string    `json:"cluster"`
	Health      Health    `json:"health"`
	Problems    []Problem `json:"problems"`
	Coordinator string    `json:"coordinator"` // its address; "": none is known, and the rest is what one process knows
	Code        string    `json:"code"`        // data+parity
	K           int       `json:"k"`           // of the code: data shards
	M           int       `json:"m"`           // parity shards
	Epoch       uint64    `json:"epoch"`       // of the cluster map
	Partitions  int       `json:"partitions"`
	Moving      int       `json:"partitionsMoving"`
	Nodes       []Node    `json:"nodes"`
	Drives      []Drive   `json:"drives"`
	Metadata    Metadata  `json:"metadata"`
	Chunks      *Chunks   `json:"chunks,omitempty"` // if it was asked for and could be counted
	Repair      Repair    `json:"repair"`
	Space       Space     `json:"space"`
	Orders      Orders    `json:"orders"`
}

// Problem is a bad state, and what to do about it.
type Problem struct {
	Health Health `json:"health"`
	What   string `json:"what"`
	Next   string `json:"next"`
}

// Node is a process of the cluster.
type Node struct {
	Name    string   `json:"name"`
	Addr    string   `json:"addr"`
	S3      string   `json:"s3,omitempty"`
	Admin   string   `json:"admin,omitempty"`
	Zone    string   `json:"zone,omitempty"`
	Roles   []string `json:"roles"`
	Up      bool     `json:"up"`
	Seconds float64  `json:"seconds"`           // for how long it has been so, as far as the coordinator knows
	Unseen  bool     `json:"unseen,omitempty"`  // the coordinator has not heard of it since it is one
	Removed bool     `json:"removed,omitempty"` // all its drives have been removed
	Release string   `json:"release,omitempty"`
	Drives  int      `json:"drives"`
	Leads   int      `json:"leads"` // metadata groups
	Host    string   `json:"host,omitempty"`
	Orders  uint64   `json:"orders"` // the newest that it has
}

// Drive is a member of the cluster map, or about to be.
type Drive struct {
	ID       string  `json:"id"`
	Node     string  `json:"node"`
	Zone     string  `json:"zone,omitempty"`
	Dir      string  `json:"dir,omitempty"`
	State    string  `json:"state"` // up, draining, out, removed: what the map says; new: it is not in it
	Live     bool    `json:"live"`  // its node is up and has it
	Seconds  float64 `json:"seconds"`
	Weight   uint32  `json:"weight"`
	Slots    int     `json:"slots"`        // of the ring, of which it is home
	Leaving  int     `json:"slotsLeaving"` // of which it is home no more, but whose new home is not complete
	Capacity uint64  `json:"capacityBytes"`
	Free     uint64  `json:"freeBytes"`
	Used     uint64  `json:"usedBytes"`
	LiveData uint64  `json:"liveBytes"` // of shards that are still needed
	Shards   uint64  `json:"shards"`
	Corrupt  uint64  `json:"corruptShards"`
	Scrubbed uint64  `json:"scrubbed"` // serial of the last scrub on demand that is done
}

// Metadata is the state of the Raft groups.
type Metadata struct {
	Groups []Group `json:"groups"`
	// Lost and Risky count the groups without a leader, and those that the loss of one more voter would cost theirs.
	Lost  int `json:"groupsLost"`
	Risky int `json:"groupsAtRisk"`
}

// Group is a Raft group.
type Group struct {
	Group    int     `json:"group"`
	Leader   string  `json:"leader"` // node; "": none is known
	Voters   []Voter `json:"voters"`
	Learners []Voter `json:"learners,omitempty"`
}

// Voter is a replica of a group.
type Voter struct {
	Host string `json:"host"`
	Node string `json:"node,omitempty"` // "": the coordinator has not heard of it
	Up   bool   `json:"up"`
}

// Chunks counts the chunks of all objects by how many of their shards can be reached now.
type Chunks struct {
	Total      uint64   `json:"total"`
	Bytes      uint64   `json:"bytes"`  // before coding
	ByLost     []uint64 `json:"byLost"` // those that lack so many shards and can be read
	ByLive     []uint64 `json:"byLive"` // those that have so many shards and can be read
	AtRisk     uint64   `json:"atRisk"` // of them: the next lost shard makes them unreadable
	Unreadable uint64   `json:"unreadable"`
	Abandoned  uint64   `json:"abandoned"`    // lack shards, but no object needs them: of writes that were cut off or are under way, or deleted
	Missing    uint64   `json:"missingBytes"` // size of the shards that readable chunks lack
}

// Repair sums up what the drives are at.
type Repair struct {
	PendingShards     int     `json:"pendingShards"`
	PendingPartitions int     `json:"pendingPartitions"`
	BytesPerSecond    float64 `json:"bytesPerSecond"`
	ETASeconds        float64 `json:"etaSeconds"` // negative: nothing moves
	ReadBytes         uint64  `json:"readBytes"`  // since the processes started
	WrittenBytes      uint64  `json:"writtenBytes"`
}

// Space is that of all drives that can be reached and take shards.
type Space struct {
	Capacity uint64 `json:"capacityBytes"`
	Used     uint64 `json:"usedBytes"`
	Live     uint64 `json:"liveBytes"`
	Free     uint64 `json:"freeBytes"`
}

// Orders are the ones in force.
type Orders struct {
	Serial      uint64 `json:"serial"`
	RepairLimit int64  `json:"repairLimit"` // bytes per second and drive; 0: the default
}
