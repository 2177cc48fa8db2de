// Package oracle judges a run: each oracle takes what was seen and returns a verdict with the operations that prove it.
//
// It must not know how load is made or faults are injected. All its decisions are pure.
package oracle
