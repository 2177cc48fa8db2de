package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kintsugi/meta/replica"
)

// adminTimeout bounds how long a client of the admin port may take for its header.
const adminTimeout = 10 * time.Second

func newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// adminSite is what the admin port serves: health to everybody, metrics and status to who may see them.
type adminSite struct {
	ready   func() bool
	status  func(context.Context) (any, error) // errNotReady: too early
	metrics *prometheus.Registry
	token   string // that a caller must show; "": callers on this machine need none, others are refused
	log     *slog.Logger
}

var errNotReady = errors.New("waiting for drives")

// handler answers strangers with health only, whatever address it listens on: metrics
// and status name drives and rates, which are nobody else's business.
func (a adminSite) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /health/ready", a.answerReady)
	mux.Handle("GET /metrics", a.guard(promhttp.HandlerFor(a.metrics, promhttp.HandlerOpts{})))
	mux.Handle("GET /status", a.guard(http.HandlerFunc(a.answerStatus)))
	return mux
}

func (a adminSite) answerReady(w http.ResponseWriter, _ *http.Request) {
	if !a.ready() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (a adminSite) answerStatus(w http.ResponseWriter, r *http.Request) {
	status, err := a.status(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(status); err != nil {
		a.log.Debug("status was not taken", "error", err)
	}
}

// guard refuses strangers.
func (a adminSite) guard(h http.Handler) http.Handler {
	if a.token == "" {
		return loopbackOnly(h)
	}
	want := []byte("Bearer " + a.token)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), want) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a token is needed: kintsugi admin token", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// loopbackOnly refuses callers on other machines.
func loopbackOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil || !net.ParseIP(host).IsLoopback() {
			http.Error(w, "only from this machine", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// serveAdmin answers on l from now on: also while the process waits for its drives or its
// cluster. The caller ends it with stop.
func serveAdmin(l net.Listener, site adminSite) (stop func()) {
	admin := &http.Server{Handler: site.handler(), ReadHeaderTimeout: adminTimeout, MaxHeaderBytes: 16 << 10}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := served("admin", admin.Serve(l)); err != nil {
			site.log.Error("health and metrics are not served any more", "error", err)
		}
	})
	return func() {
		admin.Close()
		serving.Wait()
	}
}

// adminSite of the one process. Ready is while the metadata has a quorum and a drive is open.
func (e *embedded) adminSite() adminSite {
	return adminSite{ready: e.isReady, status: e.status, metrics: e.metrics, log: e.log}
}

func (e *embedded) isReady() bool {
	return e.opened.Load() && len(e.view.current.Load().stores) > 0 && e.replicas.Ready()
}

// driveStatus is a drive in the answer of /status.
type driveStatus struct {
	Dir   string `json:"dir"`
	ID    string `json:"id,omitempty"`
	State string `json:"state"` // open or lost
	Used  uint64 `json:"usedBytes"`
	Free  uint64 `json:"freeBytes"`
}

// status is what /status tells.
func (e *embedded) status(ctx context.Context) (any, error) {
	if !e.opened.Load() {
		return nil, errNotReady
	}
	m := e.view.Map()
	status := struct {
		Ready      bool              `json:"ready"`
		Epoch      uint64            `json:"epoch"`
		Code       [2]int            `json:"code"`
		Moving     int               `json:"partitionsMoving"`
		Drives     []driveStatus     `json:"drives"`
		Replicas   replica.Counts    `json:"replicas"`
		Repair     repairStatus      `json:"repair"`
		Redundancy map[string]uint64 `json:"chunksByRedundancy"`
	}{Ready: e.isReady(), Epoch: m.Epoch, Code: [2]int{m.K, m.M}, Moving: len(m.Open())}
	status.Drives = e.shelf.statuses()
	status.Replicas, status.Repair = e.replicas.Count(), e.repair.status()
	var err error
	status.Redundancy, err = e.repair.redundancy(ctx)
	return status, err
}
