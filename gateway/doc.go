// Package gateway speaks S3 over HTTP. It authenticates every request before it
// looks at what is asked for, finds the operation in one route table, asks
// package meta for records and package gateway/blob for bytes, and turns errors
// into S3's through one table. It keeps no state of its own: any number of
// gateways may stand beside each other.
//
// The life of a request: strict parsing (target.go, headers.go), authentication
// (gateway/sigv4), routing (routes.go), authorisation, the handler (one file per
// resource), the answer (respond.go). With Expect: 100-continue all of it up to the
// handler happens before the client is asked for the body. A handler never sees the raw
// body, only the reader that verifies it.
//
// It must not know where a shard lies, how a blob is coded or how metadata is replicated.
package gateway
