package main

import (
	"encoding/json"
	"net"
	"net/http"
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

// adminHandler serves health and metrics. It answers loopback only, whatever address
// it listens on: the metrics name drives and rates, which are nobody else's business.
func (e *embedded) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /health/ready", e.answerReady)
	mux.Handle("GET /metrics", loopbackOnly(promhttp.HandlerFor(e.metrics, promhttp.HandlerOpts{})))
	mux.Handle("GET /status", loopbackOnly(http.HandlerFunc(e.answerStatus)))
	return mux
}

// answerReady is 200 while the metadata has a quorum and more drives are open than are needed to read.
func (e *embedded) answerReady(w http.ResponseWriter, _ *http.Request) {
	if !e.isReady() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

func (e *embedded) isReady() bool {
	return e.opened.Load() && len(e.view.current.Load().stores) > 0 && e.replicas.Ready()
}

// loopbackOnly refuses strangers.
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

// driveStatus is a drive in the answer of /status.
type driveStatus struct {
	Dir   string `json:"dir"`
	ID    string `json:"id,omitempty"`
	State string `json:"state"` // open or lost
	Used  uint64 `json:"usedBytes"`
	Free  uint64 `json:"freeBytes"`
}

func (e *embedded) answerStatus(w http.ResponseWriter, r *http.Request) {
	if !e.opened.Load() {
		http.Error(w, "waiting for drives", http.StatusServiceUnavailable)
		return
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
	if status.Redundancy, err = e.repair.redundancy(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(status); err != nil {
		e.log.Debug("status was not taken", "error", err)
	}
}
