// Package drive owns the identity of a drive: the file that says which cluster
// and which drive a directory is, the lock that keeps two processes off it, and
// the judgement of a directory that is missing, empty, foreign or damaged.
//
// It must not know what is stored beside the identity.
package drive
