package history

import (
	"fmt"
	"time"
)

// Kind is what an operation does.
type Kind uint8

const (
	Get Kind = iota
	Range
	Head
	Put
	PutIfAbsent // If-None-Match: *
	PutIfMatch  // If-Match: the ETag of version Expect
	Multipart
	Abort // a Multipart that is completed and aborted at the same moment: one of both happens
	Delete
	List
	kinds
)

var kindNames = [kinds]string{"get", "range", "head", "put", "put-if-absent", "put-if-match", "multipart", "abort", "delete", "list"}

func (k Kind) String() string { return kindNames[k] }

// ParseKind is the inverse of String.
func ParseKind(name string) (Kind, bool) {
	for k, n := range kindNames {
		if n == name {
			return Kind(k), true
		}
	}
	return 0, false
}

// Kinds are all of them.
func Kinds() []Kind {
	all := make([]Kind, kinds)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Reads tells whether the operation finds a version of one key.
func (k Kind) Reads() bool { return k <= Head }

// Writes tells whether the operation makes a version of one key, or removes it.
func (k Kind) Writes() bool { return k >= Put && k <= Delete }

// Conditional tells whether the operation depends on what is there.
func (k Kind) Conditional() bool { return k == PutIfAbsent || k == PutIfMatch }

// Outcome is how an operation ended.
type Outcome uint8

const (
	OK          Outcome = iota
	Absent              // 404: there is no such key
	Refused             // 412: the condition does not hold
	Conflict            // 409: another conditional write was under way, nothing was done
	Unavailable         // 5xx
	Aborted             // the connection ended before the answer did
	Timeout             // no answer in time
	Unreachable         // no connection: nothing was sent
	Rejected            // 4xx that no right server answers here
	Wrong               // an answer that is wrong by itself; a Lie tells what
	outcomes
)

var outcomeNames = [outcomes]string{"ok", "absent", "refused", "conflict", "unavailable", "aborted", "timeout", "unreachable", "rejected", "wrong"}

func (o Outcome) String() string { return outcomeNames[o] }

// Answered tells whether the answer says for certain what happened.
func (o Outcome) Answered() bool { return o <= Conflict }

// Failed tells whether a client was not served.
func (o Outcome) Failed() bool { return o > Conflict }

// Honest tells whether a failure is one by which a server may say that it cannot serve now.
func (o Outcome) Honest() bool { return o == Unavailable || o == Aborted || o == Unreachable }

// Doubtful tells whether a write with this outcome may have happened, now or at any time later.
func (o Outcome) Doubtful() bool {
	return o == Unavailable || o == Aborted || o == Timeout || o == Wrong
}

// Doubtful tells whether a write without a certain answer may have happened.
func (o *Op) Doubtful() bool { return o.Kind.Writes() && o.Outcome.Doubtful() && !o.Partial }

// NoVersion is the version of a key that does not exist.
const NoVersion uint32 = 0

// Op is an operation as its client saw it. Times are since the begin of the run.
type Op struct {
	Begin, End time.Duration
	SizeBytes  int64  // that were written, or read and verified
	Key        int32  // -1 for a List
	Version    uint32 // that a write makes or a read found
	Expect     uint32 // of a PutIfMatch
	Status     uint16 // of HTTP, if there was an answer
	Client     uint16
	Endpoint   uint8
	Kind       Kind
	Outcome    Outcome
	Final      bool // of the last sweep, when nothing is written any more
	Partial    bool // a write that ended before what makes it visible was sent whole: it has no effect
	Odd        bool // of a client that behaves badly: how long it took and that it failed says nothing of the server
}

// Took is the time that the client waited.
func (o *Op) Took() time.Duration { return o.End - o.Begin }

// String is a line of a key's history.
func (o Op) String() string {
	what := o.Kind.String()
	switch {
	case o.Kind.Reads() && o.Outcome == OK:
		what += fmt.Sprintf(" found version %d", o.Version)
	case o.Kind == PutIfMatch:
		what += fmt.Sprintf(" version %d in place of %d", o.Version, o.Expect)
	case o.Kind.Writes() && o.Kind != Delete:
		what += fmt.Sprintf(" version %d", o.Version)
	}
	if o.SizeBytes > 0 {
		what += fmt.Sprintf(", %d bytes", o.SizeBytes)
	}
	status := ""
	if o.Status != 0 {
		status = fmt.Sprintf(" (%d)", o.Status)
	}
	return fmt.Sprintf("%9.3fs to %9.3fs  client %-3d endpoint %d  %s: %s%s",
		o.Begin.Seconds(), o.End.Seconds(), o.Client, o.Endpoint, what, o.Outcome, status)
}
