package main

import (
	"context"
	"sync"
	"time"

	"kintsugi/gateway"
	"kintsugi/gateway/blob"
	"kintsugi/internal/rpc"
	"kintsugi/placement"
)

// Bounds of the data path in a cluster: a client is told within 5 s that something cannot be read.
const (
	nodeReadTimeout  = 4 * time.Second
	nodeWriteTimeout = 15 * time.Second
	nodeMetaTimeout  = 4500 * time.Millisecond
)

// Bounds of the buffers of a gateway beside a storage node, in bytes.
const (
	sharedWriteMemory   = 32 << 20
	sharedScratchMemory = 24 << 20
	sharedReadMemory    = 16 << 20
)

// makeBlobs makes the data path: of gateways, and of metadata nodes, which remove what was deleted.
func (n *node) makeBlobs() (err error) {
	cfg := blob.Config{
		Hint: n.hint, ReadTimeout: nodeReadTimeout, WriteTimeout: nodeWriteTimeout, Logger: n.log, Registerer: n.metrics,
	}
	if n.is(rpc.Storage) { // one of many, each with a gateway: a share of the load is a share of the memory
		cfg.WriteMemory, cfg.ScratchMemory, cfg.ReadMemory = sharedWriteMemory, sharedScratchMemory, sharedReadMemory
	}
	n.blobs, err = blob.New(cfg, n.view)
	return err
}

// serveFront serves S3 until ctx ends, then lets requests under way finish. Without the role it only waits.
func (n *node) serveFront(ctx context.Context, ports listeners) error {
	if !n.is(rpc.Gateway) {
		<-ctx.Done()
		return nil
	}
	failed := make(chan error, 1)
	n.running.Go(func() { failed <- served("S3", n.front.Serve(ports.s3)) })
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	n.log.Info("stopping: new requests are refused, those under way may finish", "grace", n.cfg.grace)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.cfg.grace)
	defer cancel()
	return n.front.Shutdown(drain)
}

// makeFront makes the S3 front.
func (n *node) makeFront() (err error) {
	n.front, err = gateway.New(gateway.Config{
		Meta: n.meta, Blobs: n.blobs, Keys: n.credentials(),
		Region: n.cfg.region, Domains: n.cfg.domains, OperationTimeout: nodeMetaTimeout, Logger: n.log, Registerer: n.metrics,
	})
	return err
}

// credentials are those of the environment, else those that follow from the cluster secret: every gateway has the same.
func (n *node) credentials() credentials {
	if n.cfg.credentials != nil {
		return *n.cfg.credentials
	}
	return credentialsFromSecret(n.cfg.secret)
}

// hint passes a shard that is missing or damaged to its home, here or elsewhere.
func (n *node) hint(id placement.ShardID) {
	if n.repair != nil {
		n.repair.hintLocal(id)
	}
	n.hints.hint(id)
}

// removeGarbage removes what was deleted, and what crashed uploads left, while this process coordinates the cluster.
func (n *node) removeGarbage(ctx context.Context) {
	ticker := time.NewTicker(monitorInterval)
	defer ticker.Stop()
	for {
		if n.coordinator.Leading() && n.view.Map() != nil { // which who leads from its start has not heard of yet
			n.removeWhileLeading(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (n *node) removeWhileLeading(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() {
		giveBack(ctx, n.blobs, n.meta, blob.GarbageConfig{Grace: n.cfg.keep, Ripe: n.ripeSince}, n.log)
	})
	defer working.Wait()
	defer stop()
	ticker := time.NewTicker(monitorInterval)
	defer ticker.Stop()
	for n.coordinator.Leading() {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// ripeSince is when a blob must have been queued for deletion so that no gateway reads it any more.
func (n *node) ripeSince() time.Time {
	if ms := n.ripe.Load(); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}
