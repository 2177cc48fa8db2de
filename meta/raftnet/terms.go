package raftnet

import (
	"context"
	"encoding/binary"
	"fmt"

	"kintsugi/internal/rpc"
	"kintsugi/meta/raftgroup"
)

var _ raftgroup.TermAsker = (*Transport)(nil)

const termsQuestionSize = 9

// AskTerms implements raftgroup.TermAsker.
func (t *Transport) AskTerms(ctx context.Context, peer uint64) ([]uint64, error) {
	addr, ok := t.cfg.Resolve(peer)
	if !ok {
		return nil, raftgroup.ErrUnreachable
	}
	var question [termsQuestionSize]byte
	question[0] = formatVersion
	binary.LittleEndian.PutUint64(question[1:], peer)
	reply, err := t.cfg.Client.Do(ctx, addr, &rpc.Call{Method: MethodTerms, Head: question[:], Idempotent: true})
	if err != nil {
		return nil, fmt.Errorf("terms of replica %d: %w", peer, err)
	}
	return decodeTerms(reply.Head)
}

// decodeTerms reads the answer to a question for terms.
func decodeTerms(p []byte) ([]uint64, error) {
	if len(p) < 1 || p[0] != formatVersion || (len(p)-1)%8 != 0 || len(p) > 1+8*maxGroup {
		return nil, fmt.Errorf("terms in %d bytes: %w", len(p), ErrFormat)
	}
	terms := make([]uint64, (len(p)-1)/8)
	for i := range terms {
		terms[i] = binary.LittleEndian.Uint64(p[1+8*i:])
	}
	return terms, nil
}

// answerTerms answers for the host that is meant, if it is here: the terms of another would prove nothing.
func (t *Transport) answerTerms(_ context.Context, r *rpc.Request) error {
	if len(r.Head) != termsQuestionSize || r.Head[0] != formatVersion {
		return &rpc.StatusError{Code: statusBadFormat}
	}
	host := t.receiver(binary.LittleEndian.Uint64(r.Head[1:]))
	if host == nil {
		return &rpc.StatusError{Code: statusNoHost}
	}
	groups := host.Groups()
	answer := append(make([]byte, 0, 1+8*groups), formatVersion)
	for g := range groups {
		answer = binary.LittleEndian.AppendUint64(answer, host.Term(uint32(g)))
	}
	return r.Reply(answer, nil)
}
