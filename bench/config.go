package bench

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
)

// Operation is what a run measures.
type Operation string

// The operations.
const (
	Put   Operation = "put"
	Get   Operation = "get"
	Mixed Operation = "mixed"
	List  Operation = "list"
)

// Payload says how the body of a PUT is authenticated.
type Payload string

// The ways to authenticate a body.
const (
	PayloadUnsigned Payload = "unsigned" // UNSIGNED-PAYLOAD: what rclone sends
	PayloadSigned   Payload = "signed"   // SHA-256 of the whole body: what aws-cli sends over http
	PayloadChunked  Payload = "chunked"  // a signature per 64 KiB: what minio-go and mc send
)

// Mix gives the share of each request in a mixed run; the shares are relative.
type Mix struct {
	Get, Head, Put, Delete int
}

// DefaultMix is what a busy bucket of small files looks like.
var DefaultMix = Mix{Get: 45, Head: 30, Put: 15, Delete: 10}

func (m Mix) total() int { return m.Get + m.Head + m.Put + m.Delete }

// ParseMix reads "get=45,head=30,put=15,delete=10"; what is not named is 0.
func ParseMix(s string) (Mix, error) {
	var m Mix
	fields := map[string]*int{"get": &m.Get, "head": &m.Head, "put": &m.Put, "delete": &m.Delete}
	for _, part := range strings.Split(s, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(part), "=")
		field := fields[name]
		if !found || field == nil {
			return Mix{}, fmt.Errorf("%w: mix %q: want get=45,head=30,put=15,delete=10", ErrConfig, part)
		}
		if _, err := fmt.Sscanf(value, "%d", field); err != nil || *field < 0 {
			return Mix{}, fmt.Errorf("%w: mix %q: not a share", ErrConfig, part)
		}
	}
	if m.total() == 0 {
		return Mix{}, fmt.Errorf("%w: mix %q: all shares are 0", ErrConfig, s)
	}
	return m, nil
}

// ErrConfig tells that a Config cannot be run; the message says why.
var ErrConfig = errors.New("bench: invalid configuration")

// Config says what to measure. The zero value of every field but Endpoint and
// the keys is usable.
type Config struct {
	Operation Operation     // Put when empty
	Endpoint  string        // http://host:port or https://host:port
	Region    string        // us-east-1 when empty
	AccessKey string        // no signature is made when empty
	SecretKey string        //
	Bucket    string        // kintsugi-bench when empty; made when missing
	Prefix    string        // of every key; by operation and size when empty
	SizeBytes int64         // of every object
	Workers   int           // requests in flight; 16 when 0
	Duration  time.Duration // of the measured phase; 10 s when 0
	Warmup    time.Duration // load before the measured phase that is not counted
	Objects   int           // distinct keys; by operation and size when 0
	Payload   Payload       // PayloadUnsigned when empty
	Mix       Mix           // of a Mixed run; DefaultMix when zero
	Seed      uint64        // of the bodies: the same seed gives the same bodies in every run
	Verify    bool          // compare every byte that a GET returns
	Reuse     bool          // do not write objects before reading: an earlier run left them
	Cleanup   bool          // delete the run's objects afterwards
	Insecure  bool          // accept any certificate
	ServerPID int           // process whose CPU time and memory are reported; none when 0
	Timeout   time.Duration // of one request; 60 s when 0

	Progress    io.Writer // where progress goes; nowhere when nil
	ProgressTTY bool      // one line that is rewritten, instead of a line every few seconds
}

const (
	prepareBudgetBytes = 1 << 30 // default data set of a GET run: fits the page cache of a small machine
	maxPrepared        = 2000
	minPrepared        = 16
	defaultListKeys    = 10_000
	maxSizeBytes       = 5 << 30 // of one S3 PUT
)

// withDefaults returns c with every zero field filled, or ErrConfig.
func (c Config) withDefaults() (Config, error) {
	c.Operation = cmp.Or(c.Operation, Put)
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.Bucket = cmp.Or(c.Bucket, "kintsugi-bench")
	c.Workers = cmp.Or(c.Workers, 16)
	c.Duration = cmp.Or(c.Duration, 10*time.Second)
	c.Payload = cmp.Or(c.Payload, PayloadUnsigned)
	c.Mix = cmp.Or(c.Mix, DefaultMix)
	c.Timeout = cmp.Or(c.Timeout, 60*time.Second)
	if c.Objects == 0 {
		c.Objects = c.defaultObjects()
	}
	if c.Prefix == "" {
		c.Prefix = c.defaultPrefix()
	}
	return c, c.validate()
}

// defaultObjects is 0 for a Put run, which then never repeats a key.
func (c Config) defaultObjects() int {
	switch c.Operation {
	case List:
		return defaultListKeys
	case Get, Mixed:
		return int(min(max(prepareBudgetBytes/max(c.SizeBytes, 1), minPrepared), maxPrepared))
	default:
		return 0
	}
}

// defaultPrefix is the same for runs that can use each other's objects.
func (c Config) defaultPrefix() string {
	if c.Operation == List {
		return fmt.Sprintf("list-%d/", c.Objects)
	}
	return fmt.Sprintf("size-%d/", c.SizeBytes)
}

func (c Config) validate() error {
	endpoint, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || endpoint.Host == "" || endpoint.Scheme != "http" && endpoint.Scheme != "https":
		return fmt.Errorf("%w: endpoint %q: want http://host:port", ErrConfig, c.Endpoint)
	case endpoint.Path != "" && endpoint.Path != "/":
		return fmt.Errorf("%w: endpoint %q: a path is not possible, S3 signs the path it sees", ErrConfig, c.Endpoint)
	case c.Operation != Put && c.Operation != Get && c.Operation != Mixed && c.Operation != List:
		return fmt.Errorf("%w: operation %q", ErrConfig, c.Operation)
	case c.Payload != PayloadUnsigned && c.Payload != PayloadSigned && c.Payload != PayloadChunked:
		return fmt.Errorf("%w: payload %q: want unsigned, signed or chunked", ErrConfig, c.Payload)
	case c.SizeBytes < 0 || c.SizeBytes > maxSizeBytes:
		return fmt.Errorf("%w: size %d: want 0 to 5 GiB", ErrConfig, c.SizeBytes)
	case c.Workers < 0 || c.Duration < 0 || c.Warmup < 0 || c.Objects < 0 || c.Timeout < 0:
		return fmt.Errorf("%w: a count or a time is negative", ErrConfig)
	case c.AccessKey != "" && c.SecretKey == "":
		return fmt.Errorf("%w: an access key without its secret key", ErrConfig)
	}
	return nil
}
