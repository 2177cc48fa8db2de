package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

const hexSize = 2 * sha256.Size

// chunkSigner checks the chain of chunk signatures. A chunk's string to sign is
//
//	AWS4-HMAC-SHA256-PAYLOAD LF time LF scope LF previous LF hash("") LF hash(chunk)
//
// with the previous signature, at first that of the request.
type chunkSigner struct {
	mac    hash.Hash // keyed
	sum    hash.Hash // of the chunk so far
	prefix []byte    // time and scope, with line feeds
	toSign []byte
	prev   [hexSize]byte // last verified signature
	given  [hexSize]byte // the one announced for the current chunk
	got    [hexSize]byte
	raw    [sha256.Size]byte
}

// The algorithms, which begin a string to sign.
const (
	chunkAlgorithm   = "AWS4-HMAC-SHA256-PAYLOAD\n"
	trailerAlgorithm = "AWS4-HMAC-SHA256-TRAILER\n"
	emptyHash        = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"
)

func newChunkSigner(a *Auth) *chunkSigner {
	s := &chunkSigner{mac: a.key.mac(), sum: sha256.New(), prev: a.seed}
	s.prefix = append(s.prefix, a.time[:]...)
	s.prefix = append(s.prefix, '\n')
	s.prefix = append(s.prefix, a.key.scope...)
	s.prefix = append(s.prefix, '\n')
	return s
}

// announce notes the signature that the client gives for what comes.
func (s *chunkSigner) announce(signature []byte) bool {
	copy(s.given[:], signature)
	return len(signature) == hexSize
}

// verify compares the signature of the chunk whose bytes were written to sum.
func (s *chunkSigner) verify() error {
	s.begin(chunkAlgorithm)
	s.toSign = append(s.toSign, emptyHash...)
	return s.compare()
}

// verifyTrailer compares the signature of the trailer.
func (s *chunkSigner) verifyTrailer(name, value string) error {
	s.sum.Write([]byte(name + ":" + value + "\n"))
	s.begin(trailerAlgorithm)
	return s.compare()
}

func (s *chunkSigner) begin(algorithm string) {
	s.toSign = append(s.toSign[:0], algorithm...)
	s.toSign = append(s.toSign, s.prefix...)
	s.toSign = append(s.toSign, s.prev[:]...)
	s.toSign = append(s.toSign, '\n')
}

func (s *chunkSigner) compare() error {
	s.toSign = hex.AppendEncode(s.toSign, s.sum.Sum(s.raw[:0]))
	s.sum.Reset()
	s.mac.Reset()
	s.mac.Write(s.toSign)
	hex.Encode(s.got[:], s.mac.Sum(s.raw[:0]))
	if !hmac.Equal(s.got[:], s.given[:]) {
		return badSignature()
	}
	s.prev = s.got
	return nil
}
