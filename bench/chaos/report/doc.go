// Package report is what is left of a run: its figures as JSON, a page that draws them, and the table on the terminal.
//
// It must not know how a run was made; Data is all that it is told.
package report
