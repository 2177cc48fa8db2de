package raftnet

import (
	"bytes"
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"kintsugi/meta/raftgroup"
)

func message(typ raftpb.MessageType, from, to uint64, data ...string) *raftpb.Message {
	m := &raftpb.Message{Type: typ.Enum(), From: &from, To: &to, Term: new(uint64(7))}
	for i, d := range data {
		m.Entries = append(m.Entries, &raftpb.Entry{Index: new(uint64(i + 1)), Term: new(uint64(7)), Data: []byte(d)})
	}
	return m
}

func frame(t testing.TB, batch ...raftgroup.Envelope) []byte {
	t.Helper()
	var p []byte
	var err error
	for _, e := range batch {
		if p, err = appendMessage(p, e); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func TestMessagesRoundTrip(t *testing.T) {
	batch := []raftgroup.Envelope{
		{Group: 3, Message: message(raftpb.MsgApp, 1, 2, "a", "", "long enough to be seen")},
		{Group: 0, Message: message(raftpb.MsgHeartbeat, 1, 2)},
	}
	p := frame(t, batch...)
	head, err := decodeFrameHead(frameHead{from: 1, to: 2, messages: 2}.appendTo(nil))
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeMessages(head, p)
	clear(p) // the messages keep nothing of it
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range batch {
		if got[i].Group != batch[i].Group || !proto.Equal(got[i].Message, batch[i].Message) {
			t.Errorf("message %d: %v, want %v", i, got[i], batch[i])
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := frame(t, raftgroup.Envelope{Group: 1, Message: message(raftpb.MsgApp, 1, 2, "data")})
	head := frameHead{from: 1, to: 2, messages: 1}
	bad := func(change func(p []byte) []byte) []byte { return change(bytes.Clone(good)) }
	cases := []struct {
		name string
		head frameHead
		body []byte
	}{
		{"fewer messages than said", frameHead{from: 1, to: 2, messages: 2}, good},
		{"more messages than said", frameHead{from: 1, to: 2}, good},
		{"far more than fit", frameHead{from: 1, to: 2, messages: 1 << 31}, good},
		{"cut short", head, good[:len(good)-1]},
		{"an impossible group", head, bad(func(p []byte) []byte { p[3] = 0xff; return p })},
		{"a length beyond the end", head, bad(func(p []byte) []byte { p[7] = 0xff; return p })},
		{"no protobuf", head, bad(func(p []byte) []byte { p[8] = 0xff; return p })},
		{"of another sender", frameHead{from: 3, to: 2, messages: 1}, good},
		{"for another host", frameHead{from: 1, to: 3, messages: 1}, good},
		{"a message of a host to itself", head, frame(t, raftgroup.Envelope{Message: message(raftpb.MsgForgetLeader, 1, 2)})},
		{"a proposal", head, frame(t, raftgroup.Envelope{Message: message(raftpb.MsgProp, 1, 2, "x")})},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got, err := decodeMessages(c.head, c.body); !errors.Is(err, ErrFormat) {
				t.Errorf("decodeMessages = %v, %v; want ErrFormat", got, err)
			}
		})
	}
	later := frameHead{from: 1, to: 2}.appendTo(nil)
	later[0]++
	if _, err := decodeFrameHead(later); !errors.Is(err, ErrFormat) {
		t.Errorf("a later version: %v", err)
	}
}

// Golden bytes: what is on the wire does not change within a version.
func TestGolden(t *testing.T) {
	head := frameHead{left: true, from: 0x0102, to: 0x0304, messages: 5}.appendTo(nil)
	want := []byte{1, 1, 2, 1, 0, 0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0}
	if !bytes.Equal(head, want) {
		t.Errorf("frame head = %v, want %v", head, want)
	}
	if got, want := (request{host: 9, group: 2}).encode(), []byte{1, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0}; !bytes.Equal(got, want) {
		t.Errorf("request = %v, want %v", got, want)
	}
}

func FuzzDecodeMessages(f *testing.F) {
	f.Add(uint32(1), frame(f, raftgroup.Envelope{Group: 1, Message: message(raftpb.MsgApp, 1, 2, "data", "more")}))
	f.Add(uint32(0), []byte{})
	f.Fuzz(func(t *testing.T, n uint32, p []byte) {
		head := frameHead{from: 1, to: 2, messages: n}
		batch, err := decodeMessages(head, p)
		if err != nil {
			return
		}
		again, err := decodeMessages(head, frame(t, batch...))
		if err != nil || len(again) != len(batch) {
			t.Fatalf("%v, %v", again, err)
		}
		for i := range batch {
			if !proto.Equal(batch[i].Message, again[i].Message) {
				t.Errorf("message %d changed", i)
			}
		}
	})
}

func FuzzDecodePosition(f *testing.F) {
	p, err := encodePosition(raftgroup.Position{Index: 5, Term: 2, Members: &raftpb.ConfState{Voters: []uint64{1, 2}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p)
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		at, err := decodePosition(p)
		if err != nil {
			return
		}
		q, err := encodePosition(at)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodePosition(q)
		if err != nil || again.Index != at.Index || again.Term != at.Term || !proto.Equal(again.Members, at.Members) {
			t.Errorf("%v, %v; want %v", again, err, at)
		}
	})
}
