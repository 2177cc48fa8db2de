package erasure

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxShards is the largest K+M that is accepted: beyond it a chunk would fall
// into pieces too small to be worth their own records.
const MaxShards = 64

// ErrParams: the numbers do not describe a code.
var ErrParams = errors.New("invalid erasure code parameters")

// Params says how many data (K) and parity (M) shards a chunk has. Any M of the
// K+M may be lost.
type Params struct{ K, M int }

// Shards is the number of shards of a chunk, n = k+m.
func (p Params) Shards() int { return p.K + p.M }

// String writes p as "4+2".
func (p Params) String() string { return strconv.Itoa(p.K) + "+" + strconv.Itoa(p.M) }

// Validate tells whether there is a code with these parameters.
func (p Params) Validate() error {
	if p.K < 1 || p.M < 0 || p.K > MaxShards || p.M > MaxShards || p.Shards() > MaxShards {
		return fmt.Errorf("%w: %s: k must be at least 1, m at least 0, k+m at most %d", ErrParams, p, MaxShards)
	}
	return nil
}

// ParseParams reads what String writes, and nothing else: no sign, no leading zero, no space.
func ParseParams(s string) (Params, error) {
	k, m, found := strings.Cut(s, "+")
	if !found {
		return Params{}, fmt.Errorf("%w: %q is not of the form 4+2", ErrParams, s)
	}
	var p Params
	var err error
	if p.K, err = strconv.Atoi(k); err == nil {
		p.M, err = strconv.Atoi(m)
	}
	if err != nil || p.String() != s {
		return Params{}, fmt.Errorf("%w: %q is not of the form 4+2", ErrParams, s)
	}
	return p, p.Validate()
}

// Default is the code of a cluster that is born with this number of drives, unless
// its owner chose another.
func Default(drives int) Params {
	switch {
	case drives >= 16:
		return Params{8, 4}
	case drives >= 6:
		return Params{4, 2}
	case drives >= 4:
		return Params{2, 2}
	case drives == 3:
		return Params{2, 1}
	case drives == 2:
		return Params{1, 1}
	default:
		return Params{1, 0}
	}
}
