// Package shardrpc carries the calls of a shard store between processes: a Server
// in front of the drives that are here, a Drive that stands for one that is elsewhere. It says
// nothing but what the store says, with the same errors, and lets nothing be written that a Fence refuses.
//
// It must not know which drives are alive, nor where a shard belongs.
package shardrpc
