package history

import (
	"slices"
	"sync"
	"time"
)

// Log keeps what happened. Its methods may be called at once from many goroutines.
type Log struct {
	began time.Time

	mu       sync.Mutex // guards all below
	ops      []Op
	listings []Listing
	lies     []Lie
	messages []Message
}

// Listing is what a List answered.
type Listing struct {
	Begin, End time.Duration
	Client     uint16
	Prefix     string
	Found      map[int32]Listed
	Final      bool
}

// Listed is an entry of a listing.
type Listed struct {
	SizeBytes int64
	ETag      string
}

// Lie is an answer that is wrong by itself, whatever else happened.
type Lie struct {
	Class  Class
	Op     Op // as far as it went
	Detail string
}

// Class says what kind of lie it is.
type Class uint8

const (
	WrongBytes  Class = iota // bytes that are not those of the version
	WrongAnswer              // a length, an ETag, a status or a key that cannot be
)

// Message is the first text of an error with that outcome and status.
type Message struct {
	Op   Op
	Text string
}

// maxMessages bounds the texts of errors that are kept: the first ones tell.
const maxMessages = 200

// NewLog begins a run at this time.
func NewLog(began time.Time) *Log { return &Log{began: began} }

// Now is the time since the run began.
func (l *Log) Now() time.Duration { return time.Since(l.began) }

// Began is the time to which all others are relative.
func (l *Log) Began() time.Time { return l.began }

// Add keeps an operation that has ended.
func (l *Log) Add(o Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, o)
}

// AddListing keeps what a List found.
func (l *Log) AddListing(x Listing) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.listings = append(l.listings, x)
}

// AddLie keeps a lie.
func (l *Log) AddLie(x Lie) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lies = append(l.lies, x)
}

// AddMessage keeps the text of an error.
func (l *Log) AddMessage(o Op, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.messages) < maxMessages {
		l.messages = append(l.messages, Message{o, text})
	}
}

// Snapshot is a run as it is at one moment. Nobody changes it.
type Snapshot struct {
	Ops      []Op
	Listings []Listing
	Lies     []Lie
	Messages []Message
}

// Snapshot returns everything so far.
func (l *Log) Snapshot() Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	// What is kept is never changed, only appended to: sharing it is safe.
	return Snapshot{l.ops[:len(l.ops):len(l.ops)], l.listings[:len(l.listings):len(l.listings)],
		l.lies[:len(l.lies):len(l.lies)], l.messages[:len(l.messages):len(l.messages)]}
}

// Usual leaves out what clients did that behave badly.
func (s Snapshot) Usual() Snapshot {
	odd := func(o Op) bool { return o.Odd }
	if slices.ContainsFunc(s.Ops, odd) {
		s.Ops = slices.DeleteFunc(slices.Clone(s.Ops), odd)
	}
	return s
}

// ByKey returns the operations of each key, in the order in which they ended.
func (s Snapshot) ByKey() map[int32][]Op {
	keys := map[int32][]Op{}
	for _, o := range s.Ops {
		if o.Key >= 0 {
			keys[o.Key] = append(keys[o.Key], o)
		}
	}
	return keys
}
