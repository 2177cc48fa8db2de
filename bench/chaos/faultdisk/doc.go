// Package faultdisk makes drives lie and limp: a file system that passes everything through to a directory, and on demand is slow, fails to
// read or write, and forgets at a power cut what was not synced, or only seemed to be. It runs as a process of its own: one that is
// killed while it waits for a file system of its own making never ends.
//
// It must not know what is kept in the files, who does, or why a drive is ill.
package faultdisk
