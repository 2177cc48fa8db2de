// Package rpc owns calls between the processes of a cluster: framing, the proof
// of who is at the other end, pooled connections, deadlines. A connection
// carries one call at a time, so that a body goes from the wire into the
// caller's buffer without a copy and nobody waits behind someone else's.
//
// A connection is mutual TLS 1.3 with certificates made from the cluster secret,
// or, on loopback, plain after a mutual challenge-response with the same secret.
//
// It must not know what the calls mean, nor which processes there are.
package rpc
