package membership

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

// Errors of founding. They come wrapped with the nodes that they are about.
var (
	// ErrTwoClusters says that nodes of one list belong to different clusters.
	ErrTwoClusters = errors.New("nodes belong to different clusters")
	// ErrOtherCode says that nodes were told different codes.
	ErrOtherCode = errors.New("nodes were given different --ec")
)

// What a founder decides where nobody said otherwise.
const (
	maxVoters         = 5
	defaultGroups     = 8
	defaultPartitions = 1024
	manyPartitions    = 4096 // above manyDrives
	manyDrives        = 64
)

// Verdict is what a process that has no cluster should do.
type Verdict struct {
	Founding *Founding // to be kept, then followed; nil: wait
	New      bool      // this process is the founder
	Wait     string    // for what, for the operator's eyes
}

// Found decides how self comes to a cluster, from the latest answers of its seeds, by address. Only the seed with the
// lowest address ever founds, only when all seeds answered that they belong to no cluster and have the same list, and it
// keeps the founding before it tells of it. So two foundings of one list cannot be: whoever founds again after a
// crash had told nobody. id is the random id of the cluster, should it be founded now.
func Found(self Hello, answers map[string]Hello, id placement.ClusterID) (Verdict, error) {
	known, err := knownFounding(self, answers)
	if err != nil {
		return Verdict{}, err
	}
	if known != nil {
		return Verdict{Founding: known}, checkCode(self, known)
	}
	seeds := slices.Sorted(slices.Values(self.Seeds))
	seeds = slices.Compact(seeds)
	if wait := waitFor(self, seeds, answers); wait != "" {
		return Verdict{Wait: wait}, nil
	}
	k, m, err := agreedCode(seeds, answers)
	if err != nil {
		return Verdict{}, err
	}
	if answers[seeds[0]].Node.Incarnation != self.Node.Incarnation {
		return Verdict{Wait: "for " + seeds[0] + ", which founds the cluster"}, nil
	}
	f := &Founding{
		Format: Format, Cluster: id, Groups: defaultGroups, Partitions: defaultPartitions, K: k, M: m,
		Voters: hosts(seeds, answers),
	}
	f.Seeds = len(f.Voters)
	f.Voters = f.Voters[:firstVoters(len(f.Voters), k, m)]
	drives := 0
	for _, h := range answers {
		drives += h.Drives
	}
	if drives > manyDrives {
		f.Partitions = manyPartitions
	}
	return Verdict{Founding: f, New: true}, nil
}

// knownFounding returns the one founding that anybody knows.
func knownFounding(self Hello, answers map[string]Hello) (*Founding, error) {
	known, from := self.Founding, self.Node.Name
	for _, addr := range slices.Sorted(maps.Keys(answers)) {
		h := answers[addr]
		switch {
		case h.Founding == nil:
		case known == nil:
			known, from = h.Founding, h.Node.Name
		case known.Cluster != h.Founding.Cluster:
			return nil, fmt.Errorf("%w: %s to %s, %s to %s", ErrTwoClusters, from, known.Cluster, h.Node.Name, h.Founding.Cluster)
		}
	}
	return known, nil
}

// checkCode refuses a process whose --ec contradicts the cluster it joins.
func checkCode(self Hello, f *Founding) error {
	if self.K == 0 || f.K == 0 || self.K == f.K && self.M == f.M {
		return nil
	}
	return fmt.Errorf("%w: %s was given %d+%d, the cluster was founded with %d+%d: leave --ec out",
		ErrOtherCode, self.Node.Name, self.K, self.M, f.K, f.M)
}

// waitFor tells what is missing before the cluster can be founded, "" if nothing is.
func waitFor(self Hello, seeds []string, answers map[string]Hello) string {
	var silent []string
	isSeed := false
	for _, addr := range seeds {
		h, ok := answers[addr]
		switch {
		case !ok:
			silent = append(silent, addr)
		case h.Node.Roles&rpc.Meta == 0 || h.Node.Host == 0:
			return fmt.Sprintf("%s (%s) keeps no metadata: --join names metadata nodes", addr, h.Node.Name)
		case !sameSet(seeds, h.Seeds):
			return fmt.Sprintf("%s was started with --join %s, this node with %s", addr, strings.Join(h.Seeds, ","), strings.Join(self.Seeds, ","))
		}
		isSeed = isSeed || ok && h.Node.Incarnation == self.Node.Incarnation
	}
	switch {
	case len(silent) > 0:
		return "for " + strings.Join(silent, ", ")
	case len(seeds) == 0:
		return "for --join"
	case !isSeed:
		return "for " + seeds[0] + ", which founds the cluster: this node is not in --join"
	}
	return ""
}

func sameSet(sorted, other []string) bool {
	return slices.Equal(sorted, slices.Compact(slices.Sorted(slices.Values(other))))
}

// agreedCode returns what --ec said at those nodes that have one; 0, 0 if none has.
func agreedCode(seeds []string, answers map[string]Hello) (k, m int, err error) {
	from := ""
	for _, addr := range seeds {
		h := answers[addr]
		switch {
		case h.K == 0:
		case k == 0:
			k, m, from = h.K, h.M, h.Node.Name
		case h.K != k || h.M != m:
			return 0, 0, fmt.Errorf("%w: %s %d+%d, %s %d+%d", ErrOtherCode, from, k, m, h.Node.Name, h.K, h.M)
		}
	}
	return k, m, nil
}

// hosts returns the metadata replicas of the seeds in the order of their addresses. Two addresses may lead to one process.
func hosts(seeds []string, answers map[string]Hello) []uint64 {
	var hosts []uint64
	for _, addr := range seeds {
		if host := answers[addr].Node.Host; !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// firstVoters is how many of n hosts vote at first: an odd number, as many as survive what the data survives.
func firstVoters(n, k, m int) int {
	voters := min(maxVoters, n)
	if voters%2 == 0 {
		voters--
	}
	if k > 0 {
		voters = min(voters, 2*m+1)
	}
	return voters
}
