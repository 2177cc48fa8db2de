// Package workload puts a mixed load on S3 endpoints and writes down what it asked and what it was answered.
// It verifies at once what one answer alone can prove wrong: bytes, lengths, ETags. Told to, it adds clients that
// behave badly; what they write is checked like everything else.
//
// It must not know what breaks the cluster meanwhile, nor judge a history: that is for package oracle. Nothing is tried
// twice, so that every failure that a client would see is seen.
package workload
