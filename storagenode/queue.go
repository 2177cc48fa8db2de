package storagenode

// queue holds tasks, those with the least redundancy first; within one degree of
// it the oldest. Chunks that cannot be read now go last: most are what a broken upload left.
type queue struct {
	buckets [maxSpare + 2][]task
	first   [maxSpare + 2]int // of each bucket, the next to go
	count   int
	bytes   int64
}

const maxSpare = 8 // chunks with more spare shards than this are all alike

func bucketOf(t task) int {
	if t.spare < 0 {
		return maxSpare + 1
	}
	return min(t.spare, maxSpare)
}

func (q *queue) push(t task) {
	b := bucketOf(t)
	q.buckets[b] = append(q.buckets[b], t)
	q.count++
	q.bytes += t.bytes
}

// reorder puts every task where spare says that it belongs by now.
func (q *queue) reorder(spare func(task) int) {
	old := *q
	*q = queue{}
	for old.count > 0 {
		t := old.pop()
		t.spare = spare(t)
		q.push(t)
	}
}

// pop takes the most urgent task; the queue must not be empty.
func (q *queue) pop() task {
	for b := range q.buckets {
		if q.first[b] == len(q.buckets[b]) {
			continue
		}
		t := q.buckets[b][q.first[b]]
		q.first[b]++
		if q.first[b] == len(q.buckets[b]) {
			q.buckets[b], q.first[b] = nil, 0
		}
		q.count--
		q.bytes -= t.bytes
		return t
	}
	panic("storagenode: pop from an empty queue")
}
