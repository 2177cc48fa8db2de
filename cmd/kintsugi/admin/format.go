package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kintsugi/internal/rpc"
)

// Methods of this package, for callers with the role Admin. The head of a call is a
// request, the body of its answer is an answer, both as JSON: `--json` prints just that, so
// its field names stay as they are. Sizes are in bytes, times in UTC, durations in seconds.
// A reader ignores fields that it does not know.
const (
	MethodWho         rpc.Method = 80 // Request -> Who; any process
	MethodStatus      rpc.Method = 81 // StatusRequest -> Status; the coordinator, or any process that knows of none
	MethodPlan        rpc.Method = 82 // ChangeRequest -> Plan; from here on the coordinator alone
	MethodChange      rpc.Method = 83 // ChangeRequest -> Plan
	MethodOrder       rpc.Method = 84 // OrderRequest -> Order
	MethodWhy         rpc.Method = 85 // WhyRequest -> Why
	MethodConsistency rpc.Method = 86 // ConsistencyRequest -> Consistency
)

// Format is the version of the records. A process refuses requests of a newer one.
const Format = 1

// Codes of an rpc.StatusError.
const (
	codeElsewhere   = 16 // the detail is the address of the coordinator, or empty if none is known
	codeRefused     = 17 // the request cannot be granted; the detail says why and what to do
	codeUnavailable = 18 // the cluster cannot answer now; the detail says why
	codeFormat      = 19 // the request is not one that this version knows
)

// Errors are matched with errors.Is; what comes with them is for people.
var (
	// ErrRefused says that the cluster will not do it, and why.
	ErrRefused = errors.New("refused")
	// ErrUnavailable says that the cluster cannot answer now.
	ErrUnavailable = errors.New("unavailable")
	// ErrNobody says that no process answered.
	ErrNobody = errors.New("nobody answers")
	// ErrNoCoordinator says that processes answer, but none leads the metadata: there is no quorum of it.
	ErrNoCoordinator = errors.New("no coordinator: the metadata has no leader")
	// ErrFormat says that the other end is of a version that does not know this request.
	ErrFormat = errors.New("unknown admin request")
)

// Request begins every request.
type Request struct {
	Format int `json:"format"`
}

func (r Request) version() int { return r.Format }

// Who tells who coordinates the cluster.
type Who struct {
	Format      int      `json:"format"`
	Node        string   `json:"node"`        // of the process that answers
	Coordinates bool     `json:"coordinates"` // it is the one
	Coordinator string   `json:"coordinator"` // address of the one, "" if it knows none
	Peers       []string `json:"peers"`       // addresses of others that it knows
}

// StatusRequest asks for the state of the cluster.
type StatusRequest struct {
	Request
	// Chunks asks for the redundancy of all chunks, too: that needs an answer of every drive.
	Chunks bool `json:"chunks"`
	// Alone asks for what this process knows even if it thinks that another coordinates.
	Alone bool `json:"alone,omitempty"`
	// Silent are addresses that do not answer the caller; with Alone.
	Silent []string `json:"silent,omitempty"`
}

// ChangeRequest asks what a change would move, or for the change.
type ChangeRequest struct {
	Request
	Change Change `json:"change"`
}

// OrderRequest asks all drives for something.
type OrderRequest struct {
	Request
	RepairLimit *int64 `json:"repairLimit,omitempty"` // bytes per second and drive; 0: the default; nil: as it is
	Rebuild     bool   `json:"rebuild,omitempty"`     // compare every shard anew
	Scrub       bool   `json:"scrub,omitempty"`       // read every shard
}

// Order is what the drives have been asked for.
type Order struct {
	Format       int    `json:"format"`
	Serial       uint64 `json:"serial"` // processes that have it report this one, or a greater one
	RepairLimit  int64  `json:"repairLimit"`
	RepairSerial uint64 `json:"repairSerial"`
	ScrubSerial  uint64 `json:"scrubSerial"`
}

// ConsistencyRequest asks for a bucket's consistency of reads, or changes it.
type ConsistencyRequest struct {
	Request
	Bucket string `json:"bucket"`
	Set    string `json:"set,omitempty"` // "eventual" or "linearizable"; "" asks
}

// Consistency is a bucket's consistency of reads.
type Consistency struct {
	Format      int    `json:"format"`
	Bucket      string `json:"bucket"`
	Consistency string `json:"consistency"` // "eventual" or "linearizable"
}

// MaxRequest bounds a request in bytes.
const MaxRequest = 64 << 10

// decodeRequest reads the head of a call into a request.
func decodeRequest(head []byte, into interface{ version() int }) error {
	if len(head) > MaxRequest {
		return fmt.Errorf("%w: %d bytes", ErrFormat, len(head))
	}
	if err := json.Unmarshal(head, into); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if v := into.version(); v < 1 || v > Format {
		return fmt.Errorf("%w: version %d, this node knows up to %d", ErrFormat, v, Format)
	}
	return nil
}

// seconds is a duration as the records have it, to a tenth.
func seconds(d time.Duration) float64 { return float64(d.Round(100*time.Millisecond)) / 1e9 }
