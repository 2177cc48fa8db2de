// Package secret owns the cluster secret: the file that it is kept in and the
// keys that are derived from it, each for one purpose.
//
// It must not know what the keys are used for.
package secret
