package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Command, as kept in the Raft log (whose entries carry a checksum), little endian:
//
//	0      version, now 1
//	1      operation
//	2:10   time of the request by the proposer's clock, Unix milliseconds
//	10:    the operation's struct, CBOR with integer keys
const (
	commandVersion    = 1
	commandHeaderSize = 10
)

// Op names a command. The numbers are in logs and never change.
type Op uint8

// The operations and the struct that each carries.
const (
	OpCreateBucket   Op = iota + 1 // Bucket; group 0
	OpPutBucket                    // PutBucket
	OpOpenBucket                   // BucketRef; group 0
	OpFreezeBucket                 // FreezeBucket
	OpThawBucket                   // FreezeBucket
	OpRemoveBucket                 // FreezeBucket
	OpDropUploads                  // FreezeBucket
	OpSetVersioning                // SetVersioning; group 0
	OpPutObject                    // PutObject
	OpDeleteObjects                // DeleteObjects
	OpSetTags                      // SetTags
	OpCreateUpload                 // CreateUpload
	OpPutPart                      // PutPart
	OpCompleteUpload               // CompleteUpload
	OpAbortUpload                  // AbortUpload
	OpForget                       // Forget
	OpExpand                       // Expand
	OpSetClusterMap                // SetClusterMap; group 0
	OpDigest                       // Digest; any group
	OpSetConsistency               // SetConsistency; group 0
)

// ErrFormat says that bytes are not a command or record of a known version.
var ErrFormat = errors.New("unknown metadata format")

// Codec is CBOR with integer keys.
type Codec struct {
	enc cbor.UserBufferEncMode
	dec cbor.DecMode
}

// codec is immutable.
var codec = NewCodec()

// NewCodec returns the codec of commands and records: their times are Unix seconds.
func NewCodec() Codec { return newCodec(cbor.TimeUnixDynamic) }

// NewExactCodec returns that of what is not kept: its times are exact.
func NewExactCodec() Codec { return newCodec(cbor.TimeRFC3339NanoUTC) }

func newCodec(times cbor.TimeMode) Codec {
	enc, err := cbor.EncOptions{
		Time: times,
		Sort: cbor.SortBytewiseLexical, // replicas write the same bytes
	}.UserBufferEncMode()
	if err != nil {
		panic(err) // the options are constant
	}
	dec, err := cbor.DecOptions{
		MaxArrayElements: 131072,
		MaxNestedLevels:  16,
		UTF8:             cbor.UTF8DecodeInvalid, // keys are bytes
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return Codec{enc: enc, dec: dec}
}

// AppendTo writes v behind what b holds.
func (c Codec) AppendTo(b *bytes.Buffer, v any) error { return c.enc.MarshalToBuffer(v, b) }

// Decode reads one value, which must be all of data, into v.
func (c Codec) Decode(data []byte, v any) error {
	if err := c.dec.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return nil
}

// EncodeCommand returns the bytes to propose.
func EncodeCommand(op Op, at time.Time, body any) ([]byte, error) {
	var header [commandHeaderSize]byte
	header[0], header[1] = commandVersion, byte(op)
	binary.LittleEndian.PutUint64(header[2:], uint64(at.UnixMilli()))
	size := 512
	if put, ok := body.(PutObject); ok {
		size += len(put.Body)
	}
	b := bytes.NewBuffer(make([]byte, 0, size))
	b.Write(header[:])
	if err := codec.AppendTo(b, body); err != nil {
		return nil, fmt.Errorf("encode command: %w", err)
	}
	return b.Bytes(), nil
}

// Command is a decoded envelope.
type Command struct {
	Op   Op
	Time time.Time // of the request, millisecond precision, UTC
	body []byte
}

// DecodeCommand reads the envelope. The result keeps a reference to data.
func DecodeCommand(data []byte) (Command, error) {
	if len(data) < commandHeaderSize || data[0] != commandVersion {
		return Command{}, fmt.Errorf("command: %w", ErrFormat)
	}
	ms := int64(binary.LittleEndian.Uint64(data[2:]))
	return Command{Op: Op(data[1]), Time: time.UnixMilli(ms).UTC(), body: data[commandHeaderSize:]}, nil
}

// Into decodes the operation's struct.
func (c Command) Into(v any) error { return codec.Decode(c.body, v) }
