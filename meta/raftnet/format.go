package raftnet

import (
	"encoding/binary"
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kintsugi/internal/rpc"
	"kintsugi/meta/raftgroup"
)

// Methods of this package.
const (
	MethodMessages rpc.Method = 16 // a frame; one way
	MethodSnapshot rpc.Method = 17 // a snapshot request; its answer is a position and a stream of the machine's
	MethodAsk      rpc.Method = 18 // a question in the caller's format, and its answer
	MethodTerms    rpc.Method = 19 // host that is meant -> its terms
)

// A frame of messages, little endian.
//
// Head:
//
//	0      version, now 1
//	1      flags: 1 = the sender's host has left and sends no more
//	2:10   host that sends
//	10:18  host that is meant
//	18:22  number of messages
//
// Body, for each message:
//
//	0:4    group
//	4:8    length of the message, bytes
//	8:     raftpb.Message, protobuf
//
// Request of a snapshot: version (1), host that is meant (8), group (4).
//
// Question for terms: version (1), host that is meant (8). Its answer: version (1), for each group its term (8).
//
// Head of the answer: version (1), 1 if the members are known (1), index (8), term (8), raftpb.ConfState, protobuf.
const (
	formatVersion     = 1
	flagLeft          = 1
	frameHeadSize     = 22
	messageHeadSize   = 8
	requestSize       = 13
	positionFixedSize = 18

	// frameBytes is when a frame is long enough to be sent; the last message of it may exceed that by far.
	frameBytes = 1 << 20
	// maxFrameBytes is what a receiver takes: a frame, and a message with the largest command and change.
	maxFrameBytes = frameBytes + 2*raftgroup.MaxCommandBytes
	maxGroup      = 1 << 16
)

// ErrFormat says that what a peer sent is not of this format, or of a version that is not known.
var ErrFormat = errors.New("unknown raft message format")

// frameHead is the decoded head of a frame.
type frameHead struct {
	left     bool
	from, to uint64
	messages uint32
}

func (h frameHead) appendTo(p []byte) []byte {
	flags := byte(0)
	if h.left {
		flags = flagLeft
	}
	p = append(p, formatVersion, flags)
	p = binary.LittleEndian.AppendUint64(p, h.from)
	p = binary.LittleEndian.AppendUint64(p, h.to)
	return binary.LittleEndian.AppendUint32(p, h.messages)
}

func decodeFrameHead(p []byte) (frameHead, error) {
	if len(p) < frameHeadSize || p[0] != formatVersion {
		return frameHead{}, fmt.Errorf("frame head of %d bytes: %w", len(p), ErrFormat)
	}
	le := binary.LittleEndian
	h := frameHead{left: p[1]&flagLeft != 0, from: le.Uint64(p[2:]), to: le.Uint64(p[10:]), messages: le.Uint32(p[18:])}
	if h.from == 0 || h.to == 0 || h.from == h.to {
		return frameHead{}, fmt.Errorf("frame from %d to %d: %w", h.from, h.to, ErrFormat)
	}
	return h, nil
}

// appendMessage appends one message of a frame's body.
func appendMessage(p []byte, e raftgroup.Envelope) ([]byte, error) {
	start := len(p)
	p = binary.LittleEndian.AppendUint32(p, e.Group)
	p = append(p, 0, 0, 0, 0)
	p, err := proto.MarshalOptions{}.MarshalAppend(p, e.Message)
	if err != nil {
		return p[:start], fmt.Errorf("encode raft message: %w", err)
	}
	binary.LittleEndian.PutUint32(p[start+4:], uint32(len(p)-start-messageHeadSize))
	return p, nil
}

// decodeMessages reads a frame's body. The messages do not refer to it.
func decodeMessages(h frameHead, p []byte) ([]raftgroup.Envelope, error) {
	if uint64(h.messages)*messageHeadSize > uint64(len(p)) {
		return nil, fmt.Errorf("%d messages in %d bytes: %w", h.messages, len(p), ErrFormat)
	}
	batch := make([]raftgroup.Envelope, 0, h.messages)
	for range h.messages {
		e, n, err := decodeMessage(p)
		if err != nil {
			return nil, err
		}
		if m := e.Message; m.GetFrom() != h.from || m.GetTo() != h.to || !travels(m.GetType()) {
			return nil, fmt.Errorf("%v from %d to %d in a frame from %d: %w", m.GetType(), m.GetFrom(), m.GetTo(), h.from, ErrFormat)
		}
		batch, p = append(batch, e), p[n:]
	}
	if len(p) > 0 {
		return nil, fmt.Errorf("%d bytes behind the messages: %w", len(p), ErrFormat)
	}
	return batch, nil
}

func decodeMessage(p []byte) (raftgroup.Envelope, int, error) {
	if len(p) < messageHeadSize {
		return raftgroup.Envelope{}, 0, fmt.Errorf("message of %d bytes: %w", len(p), ErrFormat)
	}
	group, n := binary.LittleEndian.Uint32(p), uint64(binary.LittleEndian.Uint32(p[4:]))
	if n > uint64(len(p)-messageHeadSize) || group >= maxGroup {
		return raftgroup.Envelope{}, 0, fmt.Errorf("message of %d bytes for group %d: %w", n, group, ErrFormat)
	}
	end := messageHeadSize + int(n)
	m := &raftpb.Message{}
	if err := proto.Unmarshal(p[messageHeadSize:end], m); err != nil {
		return raftgroup.Envelope{}, 0, errors.Join(ErrFormat, err)
	}
	return raftgroup.Envelope{Group: group, Message: m}, end, nil
}

// travels tells whether a message may come from another host; the others are a host's own.
func travels(t raftpb.MessageType) bool {
	switch t {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgPreVote, raftpb.MsgPreVoteResp,
		raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgSnap, raftpb.MsgSnapStatus, raftpb.MsgTimeoutNow:
		return true
	}
	return false
}

// request asks for the state of a group.
type request struct {
	host  uint64
	group uint32
}

func (r request) encode() []byte {
	p := append(make([]byte, 0, requestSize), formatVersion)
	p = binary.LittleEndian.AppendUint64(p, r.host)
	return binary.LittleEndian.AppendUint32(p, r.group)
}

func decodeRequest(p []byte) (request, error) {
	if len(p) < requestSize || p[0] != formatVersion {
		return request{}, fmt.Errorf("snapshot request of %d bytes: %w", len(p), ErrFormat)
	}
	return request{host: binary.LittleEndian.Uint64(p[1:]), group: binary.LittleEndian.Uint32(p[9:])}, nil
}

func encodePosition(at raftgroup.Position) ([]byte, error) {
	p := append(make([]byte, 0, 64), formatVersion, 0)
	p = binary.LittleEndian.AppendUint64(p, at.Index)
	p = binary.LittleEndian.AppendUint64(p, at.Term)
	if at.Members == nil {
		return p, nil
	}
	p[1] = 1
	p, err := proto.MarshalOptions{}.MarshalAppend(p, at.Members)
	if err != nil {
		return nil, fmt.Errorf("encode members: %w", err)
	}
	return p, nil
}

func decodePosition(p []byte) (raftgroup.Position, error) {
	if len(p) < positionFixedSize || p[0] != formatVersion {
		return raftgroup.Position{}, fmt.Errorf("position of %d bytes: %w", len(p), ErrFormat)
	}
	at := raftgroup.Position{Index: binary.LittleEndian.Uint64(p[2:]), Term: binary.LittleEndian.Uint64(p[10:])}
	if p[1] == 0 {
		return at, nil
	}
	at.Members = &raftpb.ConfState{}
	if err := proto.Unmarshal(p[positionFixedSize:], at.Members); err != nil {
		return raftgroup.Position{}, errors.Join(ErrFormat, err)
	}
	return at, nil
}
