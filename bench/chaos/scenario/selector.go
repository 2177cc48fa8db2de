package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Selector says which nodes a fault hits: "2 storage nodes", "m+1 storage nodes", "all nodes", "metadata leader",
// "a metadata follower", "a gateway", "next storage node", "n3".
type Selector struct {
	Count Count
	Role  string // storage, meta, gateway; "": any
	Which Which
	Name  string // of one node; then nothing else matters
	text  string
}

// Count is how many: a number, plus m of the code.
type Count struct {
	Number int
	PlusM  bool
	All    bool
}

// Which narrows the role down.
type Which uint8

const (
	Anyone   Which = iota
	Leader         // of the metadata: the one that leads most groups
	Follower       // not that one
	Next           // the one after the last that was chosen so
)

// Roles of nodes.
const (
	RoleStorage = "storagenode"
	RoleMeta    = "meta"
	RoleGateway = "gateway"
	RoleServer  = "server" // all of them in one
)

// String is the selector as it was written.
func (s Selector) String() string { return s.text }

// roleWords are the words for a role; the plural is made with s.
var roleWords = map[string]struct {
	role  string
	which Which
}{
	"node": {}, "storage node": {role: RoleStorage}, "gateway": {role: RoleGateway}, "metadata node": {role: RoleMeta},
	"metadata leader": {role: RoleMeta, which: Leader}, "metadata follower": {role: RoleMeta, which: Follower},
}

// ParseSelector reads a selector.
func ParseSelector(text string) (Selector, error) {
	s := Selector{text: strings.TrimSpace(text), Count: Count{Number: 1}}
	words := strings.Fields(text)
	if len(words) == 1 && roleWords[singular(words[0])] == (roleWords["no such"]) && singular(words[0]) != "node" {
		s.Name = words[0]
		return s, nil
	}
	if len(words) > 0 {
		if words[0] == "next" {
			s.Which, words = Next, words[1:]
		} else if count, ok := parseCount(words[0]); ok {
			s.Count, words = count, words[1:]
		}
	}
	role, known := roleWords[singular(strings.Join(words, " "))]
	if !known {
		return s, fmt.Errorf("%q: want a number (1, m, m+1, all) and one of: node, storage node, metadata node, metadata leader, metadata follower, gateway; or a node's name", text)
	}
	s.Role = role.role
	if role.which != Anyone {
		s.Which = role.which
	}
	return s, nil
}

func singular(words string) string { return strings.TrimSuffix(words, "s") }

func parseCount(word string) (Count, bool) {
	switch {
	case word == "a" || word == "one":
		return Count{Number: 1}, true
	case word == "all":
		return Count{All: true}, true
	case word == "m":
		return Count{PlusM: true}, true
	case strings.HasPrefix(word, "m+") || strings.HasPrefix(word, "m-"):
		n, err := strconv.Atoi(word[1:])
		return Count{Number: n, PlusM: true}, err == nil
	}
	n, err := strconv.Atoi(word)
	return Count{Number: n}, err == nil && n > 0
}

// Candidate is a node that may be chosen.
type Candidate struct {
	Name  string
	Role  string
	Leads int  // groups of the metadata
	Hit   bool // by a fault that is not over
}

// Choose picks nodes by chance; none for a step that names none. last is the one that Next chose before.
func (s Selector) Choose(nodes []Candidate, m int, last string, r *rand.Rand) ([]string, error) {
	if s.text == "" {
		return nil, nil
	}
	if s.Name != "" {
		for _, n := range nodes {
			if n.Name == s.Name {
				return []string{n.Name}, nil
			}
		}
		return nil, fmt.Errorf("there is no node %s", s.Name)
	}
	leader := mostLeads(nodes)
	// All are shuffled before some are left out: which are able may depend on time, and should change the choice as little as can be.
	order := slices.Clone(nodes)
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var able []string
	for _, n := range order {
		has := s.Role == "" || n.Role == s.Role || n.Role == RoleServer
		if has && !n.Hit && (s.Which != Leader || n.Name == leader) && (s.Which != Follower || n.Name != leader) {
			able = append(able, n.Name)
		}
	}
	want := s.Count.Number
	if s.Count.PlusM {
		want += m
	}
	if s.Count.All {
		want = len(able)
	}
	if want < 1 || want > len(able) {
		return nil, fmt.Errorf("%q: there are %d to choose from", s.text, len(able))
	}
	if s.Which == Next {
		return []string{after(nodes, able, last)}, nil
	}
	return able[:want], nil
}

// mostLeads is the node that leads most groups.
func mostLeads(nodes []Candidate) (name string) {
	most := 0
	for _, n := range nodes {
		if n.Leads > most && !n.Hit {
			name, most = n.Name, n.Leads
		}
	}
	return name
}

// after is the first able node that follows last in the order of the cluster.
func after(nodes []Candidate, able []string, last string) string {
	start := slices.IndexFunc(nodes, func(n Candidate) bool { return n.Name == last })
	for i := range nodes {
		if name := nodes[(start+1+i)%len(nodes)].Name; slices.Contains(able, name) {
			return name
		}
	}
	return able[0]
}
