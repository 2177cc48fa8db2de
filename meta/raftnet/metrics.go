package raftnet

import "github.com/prometheus/client_golang/prometheus"

// metrics are the figures of a Transport.
type metrics struct {
	frames, bytes, messages, lost, connects, gone prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "kintsugi_raftnet_" + name, Help: help})
		all = append(all, c)
		return c
	}
	m := &metrics{
		frames:   counter("sent_frames_total", "Frames of raft messages sent."),
		bytes:    counter("sent_bytes_total", "Bytes of them."),
		messages: counter("sent_messages_total", "Raft messages in them."),
		lost:     counter("lost_messages_total", "Raft messages that could not be queued: the peer was away or too slow."),
		connects: counter("connections_total", "Connections made to other replicas."),
		gone:     counter("peers_gone_total", "Processes of peers that ended while their machine did not."),
	}
	if r == nil {
		return m, nil
	}
	for i, c := range all {
		if err := r.Register(c); err != nil {
			for _, done := range all[:i] {
				r.Unregister(done)
			}
			return nil, err
		}
	}
	return m, nil
}
