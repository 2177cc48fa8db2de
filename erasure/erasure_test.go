package erasure

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc64"
	"math/bits"
	"math/rand/v2"
	"testing"
)

// codes are those that Default gives, their narrower forms with the same m, and a few that owners choose.
var codes = []Params{{1, 0}, {2, 0}, {1, 1}, {2, 1}, {3, 1}, {1, 2}, {2, 2}, {3, 2}, {4, 2}, {6, 3}, {8, 3}, {1, 4}, {5, 4}, {8, 4}, {10, 4}}

// period is a prime, so that no two shards of a chunk are alike.
const period = 8191

// chunk returns the shards of size random bytes, coded, and the padded chunk itself.
func chunk(t testing.TB, code Code, size int64) (shards [][]byte, data []byte) {
	p := code.Params()
	shardSize := ShardSize(p, size)
	all := make([]byte, int64(p.Shards())*shardSize)
	random := rand.New(rand.NewPCG(uint64(size), uint64(p.K*100+p.M)))
	for i := range all[:min(size, period)] {
		all[i] = byte(random.Uint32())
	}
	for i := int64(period); i < size; i += period { // of another phase in each shard
		copy(all[i:size], all[:period])
	}
	for i := range int64(p.Shards()) {
		shards = append(shards, all[i*shardSize:(i+1)*shardSize:(i+1)*shardSize])
	}
	if err := code.Encode(shards); err != nil {
		t.Fatalf("%s, %d bytes: Encode: %v", p, size, err)
	}
	return shards, all[:size]
}

func newCode(t testing.TB, p Params) Code {
	code, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// TestEveryLoss takes away every set of at most m shards and expects all of them back.
func TestEveryLoss(t *testing.T) {
	for _, p := range codes {
		t.Run(p.String(), func(t *testing.T) {
			code := newCode(t, p)
			want, _ := chunk(t, code, int64(p.K)*128-1)
			for pattern := range uint64(1) << p.Shards() {
				if bits.OnesCount64(pattern) <= p.M {
					loseAndReconstruct(t, code, want, pattern)
				}
			}
		})
	}
}

func loseAndReconstruct(t *testing.T, code Code, want [][]byte, pattern uint64) {
	t.Helper()
	got := make([][]byte, len(want))
	var lost, left []int
	for i := range want {
		if pattern>>i&1 == 1 {
			lost = append(lost, i)
			got[i] = bytes.Repeat([]byte{0xaa}, len(want[i]))[:0]
		} else {
			left = append(left, i)
			got[i] = bytes.Clone(want[i])
		}
	}
	if err := code.Reconstruct(got, lost); err != nil {
		t.Fatalf("lost %v: %v", lost, err)
	}
	for i := range want {
		if !bytes.Equal(got[i], want[i]) {
			t.Fatalf("lost %v: shard %d differs", lost, i)
		}
	}
	repair(t, code, want, lost, left)
}

// repair rebuilds the lost shards from what the plan asks for, with the leftmost and with the rightmost choice.
func repair(t *testing.T, code Code, want [][]byte, lost, left []int) {
	t.Helper()
	reversed := make([]int, 0, len(left))
	for i := range left {
		reversed = append(reversed, left[len(left)-1-i])
	}
	for _, available := range [][]int{left, reversed} {
		plan, err := code.RepairPlan(lost, available)
		if err != nil {
			t.Fatalf("lost %v: %v", lost, err)
		}
		pieces := make([][]byte, len(plan))
		for i, r := range plan {
			unit := len(want[0]) / code.SubChunks()
			pieces[i] = want[r.Shard][r.First*unit : (r.First+r.Count)*unit]
		}
		out := make([][]byte, len(lost))
		for j := range out {
			out[j] = bytes.Repeat([]byte{0x55}, len(want[0]))
		}
		if err := code.Repair(lost, plan, pieces, out); err != nil {
			t.Fatalf("lost %v, from %v: %v", lost, plan, err)
		}
		for j, i := range lost {
			if !bytes.Equal(out[j], want[i]) {
				t.Fatalf("lost %v, from %v: shard %d differs", lost, plan, i)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	sizes := []int64{0, 1, 63, 64, 65, 4095, 4096, 4097, 65535, 100_003, 128 << 10, 262144 - 1, 262144, 262144 + 1, ChunkSize - 1, ChunkSize, ChunkSize + 1}
	for _, p := range codes {
		code := newCode(t, p)
		for _, size := range sizes {
			want, data := chunk(t, code, size)
			got := make([][]byte, len(want))
			var lost []int
			for i := range want {
				if i < p.M {
					lost = append(lost, i)
				} else {
					got[i] = want[i]
				}
			}
			if err := code.Reconstruct(got, lost); err != nil && size > 0 {
				t.Fatalf("%s, %d bytes: %v", p, size, err)
			}
			if whole := bytes.Join(got[:p.K], nil); size > 0 && !bytes.Equal(whole[:size], data) {
				t.Errorf("%s, %d bytes: wrong bytes back", p, size)
			}
		}
	}
}

func TestRangeOfColumns(t *testing.T) {
	code := newCode(t, Params{4, 2})
	want, _ := chunk(t, code, 1<<20)
	const lo, hi = 12345, 12345 + 777
	got := make([][]byte, 6)
	for _, i := range []int{1, 3, 4, 5} {
		got[i] = want[i][lo:hi]
	}
	got[2] = make([]byte, 0, hi-lo)
	room := &got[2][:1][0]
	if err := code.Reconstruct(got, []int{2}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[2], want[2][lo:hi]) || &got[2][0] != room {
		t.Error("shard 2 is wrong or not where it was asked for")
	}
	if got[0] != nil {
		t.Error("shard 0 was not asked for")
	}
}

func TestShardSize(t *testing.T) {
	for _, c := range []struct {
		name      string
		params    Params
		chunkSize int64
		want      int64
	}{
		{"nothing", Params{4, 2}, 0, 0},
		{"one byte", Params{4, 2}, 1, 64},
		{"exact", Params{4, 2}, 256, 64},
		{"one more", Params{4, 2}, 257, 128},
		{"last small", Params{4, 2}, 4*65472 - 1, 65472},
		{"below large", Params{4, 2}, 4 * 65535, 65536},
		{"large", Params{4, 2}, 4*65536 + 1, 65536 + 4096},
		{"whole chunk", Params{4, 2}, ChunkSize, 2 << 20},
		{"uneven", Params{3, 2}, ChunkSize, 2797568},
		{"one drive", Params{1, 0}, ChunkSize, ChunkSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ShardSize(c.params, c.chunkSize)
			if got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
			if got*int64(c.params.K) < c.chunkSize {
				t.Errorf("%d shards of %d do not hold %d", c.params.K, got, c.chunkSize)
			}
		})
	}
}

// TestGolden pins the codes: what was written with them must be readable for ever.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		params Params
		want   string // parity of the bytes 1, 2, ... k, one byte per data shard
		sum    uint64 // CRC-64 of the parity of a pseudo-random chunk
	}{
		{Params{1, 1}, "01", 0xd83031cf7db23c2f},
		{Params{2, 1}, "07", 0x23eea744bad30eff},
		{Params{2, 2}, "0704", 0xa93ee51dd8208329},
		{Params{4, 2}, "455e", 0x35b536cf899347e4},
		{Params{8, 4}, "6184fcad", 0x16f225306a381087},
	} {
		t.Run(c.params.String(), func(t *testing.T) {
			code := newCode(t, c.params)
			shards := make([][]byte, c.params.Shards())
			for i := range shards {
				shards[i] = []byte{byte(i + 1)}
			}
			if err := code.Encode(shards); err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(bytes.Join(shards[c.params.K:], nil)); got != c.want {
				t.Errorf("parity %s, want %s", got, c.want)
			}
			large, _ := chunk(t, code, 100_003)
			if got := crc64.Checksum(bytes.Join(large[c.params.K:], nil), crc64.MakeTable(crc64.ECMA)); got != c.sum {
				t.Errorf("sum %#x, want %#x", got, c.sum)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	code := newCode(t, Params{4, 2})
	shards, _ := chunk(t, code, 1000)
	three := [][]byte{shards[0], nil, nil, nil, shards[4], shards[5]}
	_, planErr := code.RepairPlan([]int{0}, []int{0, 1, 2, 3, 3})
	_, indexErr := code.RepairPlan([]int{6}, []int{0, 1, 2, 3})
	for _, c := range []struct {
		name      string
		got, want error
	}{
		{"three of four", code.Reconstruct(three, []int{1}), ErrTooFewShards},
		{"plan without enough", planErr, ErrTooFewShards},
		{"plan for no such shard", indexErr, ErrShardSize},
		{"no such shard", code.Reconstruct(shards, []int{6}), ErrShardSize},
		{"too many", code.Encode(append(shards[:6:6], nil)), ErrShardSize},
		{"uneven", code.Encode([][]byte{{1}, {1}, {1}, {1}, {1}, {1, 2}}), ErrShardSize},
		{"uneven present", code.Reconstruct([][]byte{{1}, {1}, {1}, {1}, {1, 2}, nil}, []int{5}), ErrShardSize},
		{"out too short", code.Repair([]int{5}, []Range{{0, 0, 1}}, [][]byte{{1, 2}}, [][]byte{{1}}), ErrShardSize},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestParams(t *testing.T) {
	for _, c := range []struct {
		text string
		want Params
		ok   bool
	}{
		{"4+2", Params{4, 2}, true},
		{"1+0", Params{1, 0}, true},
		{"60+4", Params{60, 4}, true},
		{"61+4", Params{}, false},
		{"0+2", Params{}, false},
		{"4+-2", Params{}, false},
		{"04+2", Params{}, false},
		{"4 + 2", Params{}, false},
		{"4", Params{}, false},
		{"", Params{}, false},
		{"9223372036854775807+1", Params{}, false},
	} {
		got, err := ParseParams(c.text)
		if (err == nil) != c.ok || c.ok && got != c.want || err != nil && !errors.Is(err, ErrParams) {
			t.Errorf("%q: got %v, %v", c.text, got, err)
		}
	}
}

func FuzzParseParams(f *testing.F) {
	f.Add("4+2")
	f.Add("0+0+0")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParseParams(s)
		if err == nil && (p.String() != s || p.Validate() != nil) {
			t.Errorf("%q was accepted as %v", s, p)
		}
	})
}

func TestDefault(t *testing.T) {
	want := map[int]string{0: "1+0", 1: "1+0", 2: "1+1", 3: "2+1", 4: "2+2", 5: "2+2", 6: "4+2", 15: "4+2", 16: "8+4", 1000: "8+4"}
	for drives, text := range want {
		if got := Default(drives).String(); got != text {
			t.Errorf("%d drives: %s, want %s", drives, got, text)
		}
	}
}

func TestCache(t *testing.T) {
	var cache Cache
	a, err := cache.Code(Params{4, 2})
	b, _ := cache.Code(Params{4, 2})
	if err != nil || a != b {
		t.Error("asked twice, made twice")
	}
	if _, err := cache.Code(Params{0, 2}); !errors.Is(err, ErrParams) {
		t.Errorf("0+2: %v", err)
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, p := range []Params{{2, 2}, {4, 2}, {8, 4}} {
		for _, size := range []int64{128 << 10, ChunkSize} {
			b.Run(fmt.Sprintf("%s/%dKiB", p, size>>10), func(b *testing.B) {
				code := newCode(b, p)
				shards, _ := chunk(b, code, size)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					if err := code.Encode(shards); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkReconstruct(b *testing.B) {
	for _, p := range []Params{{4, 2}, {8, 4}} {
		for _, size := range []int64{128 << 10, ChunkSize} {
			b.Run(fmt.Sprintf("%s/%dKiB", p, size>>10), func(b *testing.B) {
				code := newCode(b, p)
				shards, _ := chunk(b, code, size)
				b.SetBytes(size)
				b.ReportAllocs()
				for b.Loop() {
					shards[0], shards[1] = shards[0][:0], shards[1][:0]
					if err := code.Reconstruct(shards, []int{0, 1}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
