package shardrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
	"kintsugi/storagenode"
	"kintsugi/storagenode/shardstore"
)

// Errors are matched with errors.Is. Those of shardstore and of storagenode's Fence come through as they are.
var (
	// ErrNoDrive: the node does not have the drive, or not any more.
	ErrNoDrive = errors.New("drive is not at this node")
	// ErrMangled: the payload was damaged on its way.
	ErrMangled = errors.New("payload damaged in transit")
	// ErrRequest: the server did not understand, or what was asked contradicts itself.
	ErrRequest = errors.New("request not understood by the storage node")
)

// code is an error on the wire, in rpc.StatusError.Code. The numbers never change; 1 to 15 are rpc's.
type code uint16

const (
	codeNone     code = 0
	codeNotFound code = 16
	codeCorrupt  code = 17
	codeFull     code = 18
	codeFailed   code = 19
	codeDeleted  code = 20
	codeTooLarge code = 21
	codeRange    code = 22
	codeNoDrive  code = 32
	codeMangled  code = 33
	codeRequest  code = 34
	codeFenced   code = 35
	codeStaleMap code = 36 // detail: the epoch to get, 8 bytes little endian
)

// codes lists what errors.Is finds first: those that are also another one come before it.
var codes = [...]struct {
	code code
	err  error
}{
	{codeDeleted, shardstore.ErrDeleted},
	{codeNotFound, shardstore.ErrNotFound},
	{codeCorrupt, shardstore.ErrCorrupt},
	{codeFull, shardstore.ErrFull},
	{codeFailed, shardstore.ErrFailed},
	{codeTooLarge, shardstore.ErrTooLarge},
	{codeRange, shardstore.ErrRange},
	{codeNoDrive, ErrNoDrive},
	{codeMangled, ErrMangled},
	{codeRequest, ErrRequest},
	{codeFenced, storagenode.ErrFenced},
	{codeStaleMap, storagenode.ErrStaleMap},
}

// codeOf returns the code of an error; 0 if it has none.
func codeOf(err error) code {
	for i := range codes {
		if errors.Is(err, codes[i].err) {
			return codes[i].code
		}
	}
	return codeNone
}

// toWire is what a handler returns for an error. What has no code goes as it is, to be logged here.
func toWire(err error) error {
	c := codeOf(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errFormat):
		c = codeRequest
	case c == codeNone:
		return err
	}
	status := &rpc.StatusError{Code: uint16(c)}
	var stale *storagenode.StaleMapError
	if errors.As(err, &stale) {
		status.Detail = binary.LittleEndian.AppendUint64(nil, stale.Epoch)
	}
	return status
}

// fromCode returns the error of a code.
func fromCode(c code, detail []byte) error {
	if c == codeStaleMap && len(detail) == 8 {
		return &storagenode.StaleMapError{Epoch: binary.LittleEndian.Uint64(detail)}
	}
	for i := range codes {
		if codes[i].code == c {
			return codes[i].err
		}
	}
	return fmt.Errorf("storage node reported failure %d", c)
}

// fromWire returns what the store would have said about a shard; a call that did not come through keeps its own error.
func fromWire(drive placement.DriveID, id placement.ShardID, err error) error {
	if err == nil {
		return nil
	}
	var status *rpc.StatusError
	if errors.As(err, &status) {
		err = fromCode(code(status.Code), status.Detail)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &shardstore.Error{Drive: drive, Shard: id, Err: err}
}
