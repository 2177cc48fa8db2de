package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"kintsugi/gateway/blob"
	"kintsugi/gateway/checksum"
	"kintsugi/gateway/sigv4"
	"kintsugi/meta"
)

// cutTime is how long Shutdown waits for requests whose connection it has closed.
const cutTime = 5 * time.Second

// Config is what a Server needs. Zero values of the limits stand for the defaults named beside them.
type Config struct {
	Meta  *meta.Client
	Blobs *blob.Store
	Keys  sigv4.Keys

	Region  string   // "us-east-1"
	Domains []string // a bucket may be addressed as a host in front of one of these

	InlineLimit      int           // bytes up to which a body is kept with its metadata; 16 KiB
	MaxInFlight      int           // requests served at once, beyond that 503 SlowDown; 1,024
	MaxConnections   int           // 4,096
	HeaderTimeout    time.Duration // for a header; 30 s
	IdleTimeout      time.Duration // between requests of a connection; 60 s
	TransferTimeout  time.Duration // for every 64 KiB of a body, in either direction; 30 s
	OperationTimeout time.Duration // for metadata to answer; 30 s

	// UnsignedOnlyOverTLS refuses bodies that no signature covers on plain connections.
	UnsignedOnlyOverTLS bool

	Now        func() time.Time      // nil is time.Now
	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil: no metrics
}

// Validate fills in the defaults and says what is missing.
func (c *Config) Validate() error {
	switch {
	case c.Meta == nil || c.Blobs == nil || c.Keys == nil:
		return errors.New("gateway: Meta, Blobs and Keys are needed")
	case c.InlineLimit < 0 || c.MaxInFlight < 0 || c.MaxConnections < 0:
		return errors.New("gateway: a limit is negative")
	}
	c.Region = cmp.Or(c.Region, "us-east-1")
	c.InlineLimit = cmp.Or(c.InlineLimit, 16<<10)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1024)
	c.MaxConnections = cmp.Or(c.MaxConnections, 4096)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 30*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, time.Minute)
	c.TransferTimeout = cmp.Or(c.TransferTimeout, 30*time.Second)
	c.OperationTimeout = cmp.Or(c.OperationTimeout, 30*time.Second)
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler))
	for i, domain := range c.Domains {
		c.Domains[i] = strings.ToLower(domain)
	}
	return nil
}

// Server is the S3 front.
type Server struct {
	config   Config
	hostID   string // x-amz-id-2
	verifier *sigv4.Verifier
	hasher   *checksum.Hasher
	metrics  *metrics
	byLevel  [objectLevel + 1][]*route // rows of routes, most specific first
	http     fasthttp.Server

	stale staleBuckets

	requests sync.Pool // *request
	bodies   sync.Pool // *[]byte of InlineLimit+1 bytes
	inFlight atomic.Int64
	draining atomic.Bool

	removals     sync.WaitGroup  // blobs being removed whose commit was refused
	removing     context.Context // of the removals
	stopRemovals context.CancelFunc

	mu        sync.Mutex // guards listeners, and that none is added once draining
	listeners []*listener
	serving   sync.WaitGroup // calls of Serve
}

// New returns a Server.
func New(c Config) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s := &Server{config: c, hostID: newRequestID() + newRequestID()}
	var err error
	s.metrics, err = newMetrics(c.Registerer, func() float64 { return float64(s.inFlight.Load()) })
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	s.verifier = sigv4.New(sigv4.Config{
		Region: c.Region, Keys: c.Keys, Now: c.Now, UnsignedOnlyOverTLS: c.UnsignedOnlyOverTLS,
	})
	s.hasher = checksum.NewHasher()
	s.removing, s.stopRemovals = context.WithCancel(context.Background())
	s.requests.New = func() any { return new(request) }
	s.bodies.New = func() any { b := make([]byte, c.InlineLimit+1); return &b }
	for i := range routes {
		s.byLevel[routes[i].level] = append(s.byLevel[routes[i].level], &routes[i])
	}
	s.http = s.newHTTP()
	return s, nil
}

// newHTTP configures the HTTP library. Bodies are streamed; their limits and deadlines are ours, not its.
func (s *Server) newHTTP() fasthttp.Server {
	return fasthttp.Server{
		Handler:                      s.handle,
		ExpectHandler:                s.expect,
		ErrorHandler:                 s.refuse,
		ConnState:                    follow,
		Name:                         "Kintsugi",
		Concurrency:                  s.config.MaxConnections,
		ReadBufferSize:               16 << 10,
		WriteBufferSize:              8 << 10,
		ReadTimeout:                  s.config.HeaderTimeout,
		IdleTimeout:                  s.config.IdleTimeout,
		MaxRequestBodySize:           1 << 62,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		NoDefaultContentType:         true,
		SecureErrorLogMessage:        true,
		CloseOnShutdown:              true,
		LazyRequestTime:              true,
		Logger:                       silent{},
	}
}

// silent keeps the library's own log lines out: they may quote a header.
type silent struct{}

func (silent) Printf(string, ...any) {}

// Serve answers requests that come in through l until Shutdown, then returns nil. It closes l. After Shutdown
// it returns at once.
func (s *Server) Serve(l net.Listener) error {
	wrapped := newListener(l, s.config.TransferTimeout)
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		return wrapped.Close()
	}
	s.listeners = append(s.listeners, wrapped)
	s.serving.Add(1)
	s.mu.Unlock()
	defer s.serving.Done()
	err := s.http.Serve(wrapped)
	if errors.Is(err, io.EOF) || s.draining.Load() {
		return nil
	}
	return err
}

// Busy tells whether requests are being served now.
func (s *Server) Busy() bool { return s.inFlight.Load() > 0 }

// Shutdown stops accepting, lets requests in flight finish, and cuts off those that do not within ctx. When it
// returns none uses the stores any more, unless it says so.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.closeListeners()
	s.serving.Wait() // else the library finds itself accepting and looks again after 100 ms
	err = errors.Join(err, s.http.ShutdownWithContext(ctx))
	s.mu.Lock()
	for _, l := range s.listeners {
		l.closeConns()
	}
	s.mu.Unlock()
	for deadline := time.Now().Add(cutTime); s.inFlight.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.Join(err, errors.New("gateway: requests did not end with their connections"))
		}
	}
	stop := context.AfterFunc(ctx, s.stopRemovals)
	defer stop()
	s.removals.Wait()
	s.stopRemovals()
	s.hasher.Close()
	return err
}

// closeListeners stops accepting. The HTTP library does so, too, but knows nothing of a Serve that has only begun.
func (s *Server) closeListeners() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	var err error
	for _, l := range s.listeners {
		err = errors.Join(err, l.Close())
		l.closeUnused() // the HTTP library would wait some seconds for their first request
	}
	return err
}
