package simnet

import "time"

// bufferBytes bounds what is between two ends, in each direction: a writer who is further ahead waits.
const bufferBytes = 256 << 10

// parcel is what travels: bytes, or the end of a direction.
type parcel struct {
	data []byte
	at   time.Time // of arrival
	lost bool      // in a cut; sent again when the link is whole
}

// ending is how a direction ends.
type ending uint8

const (
	open     ending = iota
	finished        // all was sent
	reset           // broken off; the other direction ends with it
)

// pipe is one direction of a connection. The network's mutex guards it.
type pipe struct {
	link    *link
	parcels []parcel
	size    int       // bytes in parcels
	last    time.Time // arrival of the last parcel: nothing overtakes
	ending  ending
	end     parcel // valid unless ending is open
	deaf    bool   // the reading end is closed: what is sent is answered with a reset
	changed *event // of both ends and both directions
}

// send puts data on its way. It keeps data.
func (p *pipe) send(now time.Time, data []byte) {
	p.parcels = append(p.parcels, p.parcel(now, data))
	p.size += len(data)
	p.changed.fire()
}

func (p *pipe) parcel(now time.Time, data []byte) parcel {
	x := parcel{data: data, lost: p.link.cut}
	if !x.lost {
		x.at = later(p.link.arrival(now, len(data)), p.last)
		p.last = x.at
	}
	return x
}

// finish sends the end, unless there is one.
func (p *pipe) finish(now time.Time, how ending) {
	if p.ending == open || p.ending == finished && how == reset {
		p.ending, p.end = how, p.parcel(now, nil)
	}
	p.changed.fire()
}

func (x *parcel) arrived(now time.Time) bool { return !x.lost && !x.at.After(now) }

// broken tells whether a reset has arrived.
func (p *pipe) broken(now time.Time) bool { return p.ending == reset && p.end.arrived(now) }

// ended tells whether an end has arrived and nothing is before it.
func (p *pipe) ended(now time.Time) bool {
	return p.ending != open && len(p.parcels) == 0 && p.end.arrived(now)
}

// next returns when there will be news for the reader, or the zero time.
func (p *pipe) next() time.Time {
	if len(p.parcels) > 0 {
		return p.parcels[0].due()
	}
	return p.endDue()
}

func (p *pipe) endDue() time.Time {
	if p.ending == open {
		return time.Time{}
	}
	return p.end.due()
}

func (x *parcel) due() time.Time {
	if x.lost {
		return time.Time{}
	}
	return x.at
}

// take moves what has arrived into b.
func (p *pipe) take(now time.Time, b []byte) int {
	n := 0
	for n < len(b) && len(p.parcels) > 0 && p.parcels[0].arrived(now) {
		first := &p.parcels[0]
		moved := copy(b[n:], first.data)
		n += moved
		first.data = first.data[moved:]
		if len(first.data) == 0 {
			p.parcels[0] = parcel{}
			p.parcels = p.parcels[1:]
		}
	}
	p.size -= n
	if n > 0 {
		p.changed.fire()
	}
	return n
}

// sever loses what is on its way.
func (p *pipe) sever(now time.Time) {
	for i := range p.parcels {
		x := &p.parcels[i]
		x.lost = x.lost || !x.arrived(now)
	}
	if p.ending != open && !p.end.arrived(now) {
		p.end.lost = true
	}
	p.changed.fire()
}

// mend sends again what was lost.
func (p *pipe) mend(now time.Time) {
	at := p.link.resent(now)
	for i := range p.parcels {
		p.resend(&p.parcels[i], at)
	}
	if p.ending != open {
		p.resend(&p.end, at)
	}
	p.changed.fire()
}

func (p *pipe) resend(x *parcel, at time.Time) {
	if x.lost {
		x.lost = false
		x.at = later(at, p.last)
		p.last = x.at
	}
}
