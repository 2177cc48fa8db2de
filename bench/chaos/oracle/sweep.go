package oracle

import (
	"fmt"

	"kintsugi/bench/chaos/history"
)

// NameSweep is what oracle O3 looks for.
const NameSweep = "nothing lost"

// Sweep is oracle O3: after everything, what was acknowledged is there, what was deleted is gone, and the listings, the last one
// and those before, are what they must be.
func Sweep(s history.Snapshot, book *history.Book) Verdict {
	keys := s.ByKey()
	var failures []Failure
	var last *history.Listing
	for i := range s.Listings {
		if s.Listings[i].Final {
			last = &s.Listings[i]
		}
	}
	there := 0
	for key := range int32(book.Keys()) {
		f, found := lastRead(keys[key], book, key, last)
		failures = append(failures, f...)
		if found {
			there++
		}
	}
	if last == nil {
		failures = append(failures, Failure{Title: "the bucket could not be listed at the end", Seconds: -1})
	}
	for _, l := range s.Lies {
		if l.Op.Final && l.Op.Kind == history.List {
			failures = append(failures, failure("the last listing is wrong", l.Op, l.Detail, nil))
		}
	}
	facts := map[int32]*facts{}
	for key, ops := range keys {
		facts[key] = newFacts(ops)
	}
	for i := range s.Listings {
		failures = append(failures, listed(&s.Listings[i], facts)...)
	}
	good := fmt.Sprintf("%s there, %d gone, %s as they must be", counted(there, "object"), book.Keys()-there, counted(len(s.Listings), "listing"))
	return judge("O3", NameSweep, good, failures)
}

// lastRead judges the last read of a key, and what the last listing says of it.
func lastRead(ops []history.Op, book *history.Book, key int32, listing *history.Listing) (failures []Failure, there bool) {
	var last *history.Op
	for i := range ops {
		if o := &ops[i]; o.Final && o.Kind == history.Get {
			last = o
		}
	}
	switch {
	case last == nil:
		return []Failure{{Title: "a key was not read at the end", Key: history.KeyName(key), Seconds: -1}}, false
	case last.Outcome.Failed():
		return []Failure{failure("an object cannot be read at the end: "+last.Outcome.String(), *last, "", ops)}, false
	}
	there = last.Outcome == history.OK
	if w := newFacts(ops).replaced(last.Version, last); w != nil {
		title := "an acknowledged write is lost"
		switch {
		case w.Kind == history.Delete:
			title = "a deleted object is back"
		case !there:
			title = "an acknowledged object is gone"
		}
		failures = append(failures, failure(title, *last, "what was acknowledged last: "+w.String(), ops))
	}
	if listing == nil {
		return failures, there
	}
	entry, found := listing.Found[key]
	v, _ := book.Version(key, last.Version)
	switch {
	case found && !there:
		failures = append(failures, failure("the last listing has an object that does not exist", *last, "", ops))
	case !found && there:
		failures = append(failures, failure("the last listing lacks an object that exists", *last, "", ops))
	case found && (entry.SizeBytes != v.SizeBytes || entry.ETag != v.ETag):
		failures = append(failures, failure("the last listing has another size or ETag", *last,
			fmt.Sprintf("listed %d bytes, ETag %s; read %d bytes, ETag %s", entry.SizeBytes, entry.ETag, v.SizeBytes, v.ETag), ops))
	}
	return failures, there
}

// listed judges a listing by what is certain about each key of its folder.
func listed(l *history.Listing, keys map[int32]*facts) (failures []Failure) {
	at := history.Op{Kind: history.List, Key: -1, Begin: l.Begin, End: l.End, Client: l.Client}
	for key, f := range keys {
		if l.Prefix != "" && history.PrefixOf(key) != l.Prefix {
			continue
		}
		at.Key = key
		if _, found := l.Found[key]; found {
			if proof, none := f.absent(l.Begin, l.End); none {
				failures = append(failures, failure("a listing has a key before it was written", at, "", f.ops))
			} else if proof != nil {
				failures = append(failures, failure("a listing has a deleted object", at, "deleted by "+proof.String(), f.ops))
			}
		} else if proof := f.present(l.Begin, l.End); proof != nil {
			failures = append(failures, failure("a listing lacks an object that exists", at, "written by "+proof.String(), f.ops))
		}
	}
	return failures
}
