package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"kintsugi/erasure"
	"kintsugi/internal/rpc"
	"kintsugi/internal/secret"
)

// innerNode is a process of a cluster, within that of the test.
type innerNode struct {
	*node
	name   string
	client *s3.Client // with the role Gateway
	log    *syncBuffer
	ready  chan struct{}
}

// startInner runs a node until the test ends.
func startInner(t *testing.T, cfg nodeConfig) *innerNode {
	t.Helper()
	ports, err := listen(cfg.serverConfig)
	must(t, err)
	t.Cleanup(ports.close)
	i := &innerNode{name: cfg.name, log: &syncBuffer{}, ready: make(chan struct{})}
	if ports.s3 != nil {
		i.client = (&process{endpoint: "http://" + ports.s3.Addr().String()}).client()
	}
	ctx, stop := context.WithCancel(context.Background())
	i.node, err = newNode(ctx, cfg, slog.New(slog.NewTextHandler(i.log, nil)), ports)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- i.run(ctx, ports, func() { close(i.ready) }) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", i.name, err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", i.name, tail(i.log.String(), 30))
		}
	})
	return i
}

// While a cluster is upgraded some of its nodes speak the version before: they serve and are served as all others are.
func TestMixedReleases(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	const newest, before = 0, 1
	dir := t.TempDir()
	clusterSecret, err := secret.Create(filepath.Join(dir, "secret"))
	must(t, err)
	port, err := portsFrom(0, nil)()
	must(t, err)
	seed := loopback(port)
	start := func(name string, roles rpc.Role, addr string, version uint8) *innerNode {
		cfg := nodeConfig{roles: roles, name: name, join: []string{seed}, secret: clusterSecret, rpcVersion: version}
		cfg.rpcAddr, cfg.adminAddr = addr, "127.0.0.1:0"
		cfg.code, cfg.region, cfg.outAfter, cfg.grace = erasure.Params{K: 2, M: 1}, "us-east-1", time.Minute, time.Second
		cfg.credentials = &credentials{accessKey: testAccessKey, secretKey: testSecretKey}
		if roles&rpc.Gateway != 0 {
			cfg.s3Addr = "127.0.0.1:0"
		}
		if roles&rpc.Storage != 0 {
			cfg.dirs = []string{filepath.Join(dir, name)}
		}
		return startInner(t, cfg)
	}
	const anyPort = "127.0.0.1:0"
	upgraded := start("upgraded", rpc.Gateway|rpc.Storage|rpc.Meta, seed, newest)
	oldGateway := start("old gateway", rpc.Gateway, anyPort, before)
	oldStorage := start("old storage node", rpc.Storage, anyPort, before)
	newStorage := start("new storage node", rpc.Storage, anyPort, newest)
	for _, n := range []*innerNode{upgraded, oldGateway, oldStorage, newStorage} {
		select {
		case <-n.ready:
		case <-time.After(time.Minute):
			t.Fatalf("%s does not take part", n.name)
		}
	}
	mustCreateBucket(t, oldGateway.client, "mixed")
	for from, writer := range map[string]*s3.Client{"old": oldGateway.client, "new": upgraded.client} {
		for _, size := range []int{100, 300_000, 9<<20 + 1} { // in the metadata, one chunk, two
			want := keepsake(from, size, size)
			must(t, put(t.Context(), writer, "mixed", from, want))
			for to, reader := range map[string]*s3.Client{"old": oldGateway.client, "new": upgraded.client} {
				if got, err := get(t.Context(), reader, "mixed", from); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%d bytes, put by the %s gateway, through the %s one: %d, %v", size, from, to, len(got), err)
				}
			}
		}
	}
	for _, n := range []*innerNode{upgraded, oldStorage, newStorage} {
		if reports := n.driveReports(); len(reports) != 1 || reports[0].Shards == 0 {
			t.Errorf("%s: %+v, want shards", n.name, reports)
		}
	}
}
