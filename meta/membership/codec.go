package membership

import (
	"bytes"
	"errors"
	"fmt"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/placement"
)

// ErrFormat says that bytes are not a record of this package.
var ErrFormat = errors.New("unknown membership format")

// Limits of what comes from outside.
const (
	maxName       = 255 // bytes of a name or address
	maxPeers      = 10_000
	maxNodeDrives = 4096
)

// Codes of an rpc.StatusError of this package.
const (
	codeNoCoordinator = 32 // nobody leads, as far as this node knows
	codeFormat        = 33
)

// codec is immutable.
var codec = meta.NewCodec()

// encode returns v as CBOR. The records of this package cannot fail to encode.
func encode(v any) []byte {
	var b bytes.Buffer
	if err := codec.AppendTo(&b, v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// record is what every message can tell of itself.
type record interface {
	check() error
}

// decode reads a record and checks it.
func decode(data []byte, v record) error {
	if err := codec.Decode(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return v.check()
}

func (n *Node) check() error {
	for _, s := range []string{n.Name, n.Addr, n.S3, n.Admin, n.Zone, n.Release} {
		if len(s) > maxName {
			return fmt.Errorf("%w: a name of %d bytes", ErrFormat, len(s))
		}
	}
	if n.Name == "" || n.Addr == "" {
		return fmt.Errorf("%w: a node without name or address", ErrFormat)
	}
	return nil
}

func (f *Founding) check() error {
	if f.Format == 0 || f.Cluster == (placement.ClusterID{}) || len(f.Voters) == 0 || len(f.Voters) > maxVoters ||
		f.Partitions < 1 || f.Partitions > placement.MaxPartitions || f.Groups < 1 || f.Groups > maxGroups ||
		f.K < 0 || f.M < 0 || f.K+f.M > placement.MaxSlots {
		return fmt.Errorf("%w: founding", ErrFormat)
	}
	return nil
}

const maxGroups = 1024

func (h *Hello) check() error {
	if h.Format == 0 || len(h.Seeds) > maxPeers || len(h.Peers) > maxPeers || h.K < 0 || h.M < 0 || h.Drives < 0 {
		return fmt.Errorf("%w: hello", ErrFormat)
	}
	for i := range h.Peers {
		if err := h.Peers[i].check(); err != nil {
			return err
		}
	}
	if h.Founding != nil {
		if err := h.Founding.check(); err != nil {
			return err
		}
	}
	return h.Node.check()
}

func (b *Beat) check() error {
	if b.Format == 0 || len(b.Drives) > maxNodeDrives || len(b.Clean) > maxPeers {
		return fmt.Errorf("%w: beat", ErrFormat)
	}
	for i := range b.Drives {
		if b.Drives[i].ID.IsZero() || len(b.Drives[i].Dir) > 1<<12 {
			return fmt.Errorf("%w: drive of a beat", ErrFormat)
		}
	}
	return b.Node.check()
}

func (a *Answer) check() error {
	if a.Format == 0 || len(a.Peers) > maxPeers || a.Lease < 0 || len(a.Leader) > maxName {
		return fmt.Errorf("%w: answer", ErrFormat)
	}
	for i := range a.Peers {
		p := &a.Peers[i]
		if p.Node.Name == "" || len(p.Drives) > maxNodeDrives { // its address may not be known yet
			return fmt.Errorf("%w: peer of an answer", ErrFormat)
		}
	}
	return nil
}

// DecodeMap reads Answer.Map.
func DecodeMap(data []byte) (*placement.Map, error) {
	m := new(placement.Map)
	if err := codec.Decode(data, m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return m, nil
}

// status returns the error for the caller's eyes.
func status(code uint16, err error) *rpc.StatusError {
	return &rpc.StatusError{Code: code, Detail: []byte(err.Error())}
}
