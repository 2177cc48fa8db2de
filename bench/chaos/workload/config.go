package workload

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"kintsugi/bench/chaos/history"
)

// Config says what load there is.
type Config struct {
	Endpoints []string // URLs; clients use all of them
	AccessKey string
	SecretKey string
	Region    string
	Bucket    string // made by Prepare; nobody else may write to it
	Seed      uint64

	Clients int
	Rate    float64       // operations per second of all clients; 0: as fast as they are answered
	Keys    int           // that are in use at a time
	Timeout time.Duration // of one operation, and a second more for every MiB
	Mix     Mix
	Sizes   []SizeShare
}

// Mix is how often each kind of operation comes, in any unit.
type Mix map[history.Kind]float64

// SizeShare is how often sizes of a range come. Within the range every power of two is as frequent.
type SizeShare struct {
	Min, Max int64 // bytes
	Share    float64
}

// Sizes of multipart uploads: all parts but the last are of partBytes, the least that S3 allows.
const (
	partBytes = 5 << 20
	maxParts  = 3
)

// MaxSize bounds the size of a body.
const MaxSize = 64 << 20

// Validate tells what is wrong with the configuration.
func (c *Config) Validate() error {
	switch {
	case len(c.Endpoints) == 0 || len(c.Endpoints) > math.MaxUint8:
		return errors.New("workload: 1 to 255 endpoints")
	case c.Clients < 1 || c.Clients > 1000:
		return errors.New("workload: 1 to 1000 clients")
	case c.Keys < 1 || c.Keys > 1_000_000:
		return errors.New("workload: 1 to 1000000 keys")
	case c.Rate < 0 || c.Timeout <= 0:
		return errors.New("workload: rate and timeout must be positive")
	case len(c.Mix) == 0 || len(c.Sizes) == 0:
		return errors.New("workload: a mix of operations and sizes are needed")
	}
	for _, s := range c.Sizes {
		if s.Min < 1 || s.Max < s.Min || s.Max > MaxSize || s.Share < 0 {
			return fmt.Errorf("workload: sizes from %d to %d bytes, share %v", s.Min, s.Max, s.Share)
		}
	}
	return nil
}

// kind draws an operation.
func (m Mix) kind(r *rand.Rand) history.Kind {
	var sum float64
	for _, share := range m {
		sum += share
	}
	draw := r.Float64() * sum
	for _, k := range history.Kinds() { // not the map, whose order is of chance
		if draw -= m[k]; draw < 0 {
			return k
		}
	}
	return history.Get
}

// size draws a size in bytes.
func (c *Config) size(r *rand.Rand) int64 {
	var sum float64
	for _, s := range c.Sizes {
		sum += s.Share
	}
	draw := r.Float64() * sum
	for _, s := range c.Sizes {
		if draw -= s.Share; draw < 0 {
			low, high := math.Log2(float64(s.Min)), math.Log2(float64(s.Max)+1)
			return min(s.Max, max(s.Min, int64(math.Exp2(low+r.Float64()*(high-low)))))
		}
	}
	return c.Sizes[0].Min
}
