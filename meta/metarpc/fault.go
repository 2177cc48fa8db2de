package metarpc

import (
	"errors"
	"fmt"

	"kintsugi/internal/rpc"
	"kintsugi/meta"
	"kintsugi/meta/raftgroup"
)

// Codes of a fault, which are those of the rpc.StatusError, too. They never change.
const (
	codeReplica   = 16  // the replica cannot answer; another one may
	codeNotLeader = 17  // Host leads the group, 0: nobody is known to
	codeBusy      = 18  // the leader takes nothing at this moment; nothing was proposed
	codeMarker    = 19  // a *meta.MarkerError
	codeMeta      = 256 // and above: this and a code of meta.ErrorCode
)

// fault is an error on its way.
type fault struct {
	Code     uint16         `cbor:"1,keyasint"`
	Text     string         `cbor:"2,keyasint,omitempty"`
	Host     uint64         `cbor:"3,keyasint,omitempty"`
	Term     uint64         `cbor:"4,keyasint,omitempty"`
	ID       meta.VersionID `cbor:"5,keyasint,omitempty"` // of the marker
	Named    bool           `cbor:"6,keyasint,omitempty"`
	Modified int64          `cbor:"7,keyasint,omitempty"` // Unix milliseconds
}

// maxFaultText bounds the words of an error, bytes.
const maxFaultText = 1024

// faultOf tells the errors of the replica from those of the command or query, which any replica would give.
func faultOf(err error) fault {
	var notLeader *raftgroup.NotLeaderError
	var marker *meta.MarkerError
	f := fault{Code: codeReplica, Text: err.Error()}
	f.Text = f.Text[:min(len(f.Text), maxFaultText)]
	code, known := meta.ErrorCode(err)
	switch {
	case errors.As(err, &notLeader):
		return fault{Code: codeNotLeader, Host: notLeader.Leader, Term: notLeader.Term}
	case errors.As(err, &marker):
		return fault{Code: codeMarker, ID: marker.ID, Named: marker.Named, Modified: marker.Modified}
	case errors.Is(err, raftgroup.ErrBusy):
		f.Code = codeBusy
	case errors.Is(err, raftgroup.ErrTooLarge):
		f.Code, _ = meta.ErrorCode(meta.ErrTooLarge)
		f.Code += codeMeta
	case known && !errors.Is(err, meta.ErrUnavailable) && !errors.Is(err, meta.ErrCorrupt):
		f.Code = codeMeta + code
	}
	return f
}

// err returns what the caller gets.
func (f fault) err() error {
	switch {
	case f.Code == codeNotLeader:
		return &raftgroup.NotLeaderError{Leader: f.Host, Term: f.Term}
	case f.Code == codeMarker:
		return &meta.MarkerError{ID: f.ID, Named: f.Named, Modified: f.Modified}
	case f.Code == codeBusy:
		return &remoteError{text: f.Text, kind: raftgroup.ErrBusy}
	case f.Code >= codeMeta:
		kind := meta.ErrorOf(f.Code - codeMeta)
		if kind == nil { // of a later version
			kind = meta.ErrFormat
		}
		if f.Text == kind.Error() {
			return kind
		}
		return &remoteError{text: f.Text, kind: kind}
	}
	return &remoteError{text: f.Text, kind: errReplica}
}

// errReplica says that the replica which was asked cannot answer; another one may.
var errReplica = errors.New("metadata replica cannot answer")

// remoteError has the words of another process and the kind of this one's errors.
type remoteError struct {
	text string
	kind error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.kind }

// status returns the error as the rpc carries it.
func (f fault) status() error {
	detail, err := appendCBOR(nil, f)
	if err != nil {
		return fmt.Errorf("encode fault: %w", err)
	}
	return &rpc.StatusError{Code: f.Code, Detail: detail}
}

// faultIn returns the fault that a StatusError carries. One of the rpc itself is one of the replica.
func faultIn(status *rpc.StatusError) fault {
	f := fault{Code: codeReplica, Text: status.Error()}
	if status.Code < codeReplica {
		return f
	}
	coded, err := decodeInto[fault](status.Detail)
	if err != nil || coded.Code != status.Code {
		return f
	}
	return coded
}
