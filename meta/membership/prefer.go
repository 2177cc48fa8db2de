package membership

import (
	"cmp"
	"math/bits"
)

// upHosts lists the other processes' metadata replicas that are up, in no order.
func (v *view) upHosts() []uint64 {
	var hosts []uint64
	for _, p := range v.peers {
		if p.Node.Host != 0 && p.Node.Host != v.self.Node.Host && (p.Up || v.answers == 0) {
			hosts = append(hosts, p.Node.Host)
		}
	}
	return hosts
}

// preferred orders hosts: fewer roles first, then by id, which is random, so that everybody has the same order.
func (v *view) preferred(a, b uint64) int {
	return cmp.Or(cmp.Compare(v.roles(a), v.roles(b)), cmp.Compare(a, b))
}

func (v *view) roles(host uint64) int {
	if host == v.self.Node.Host {
		return bits.OnesCount8(uint8(v.self.Node.Roles))
	}
	for _, p := range v.peers {
		if p.Node.Host == host {
			return bits.OnesCount8(uint8(p.Node.Roles))
		}
	}
	return 0
}
