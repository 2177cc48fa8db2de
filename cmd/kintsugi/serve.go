package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sync/errgroup"

	"kintsugi/gateway/blob"
	"kintsugi/meta"
)

// serve answers requests until ctx ends, then lets those under way finish.
func (e *embedded) serve(ctx context.Context, ports listeners) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { e.monitor(background) })
	running.Go(func() { e.removeGarbage(background) })
	defer running.Wait()
	defer stop()

	rpc := &http.Server{Handler: http.HandlerFunc(refuse), ReadHeaderTimeout: adminTimeout, MaxHeaderBytes: 16 << 10}
	serving, ctx := errgroup.WithContext(ctx)
	serving.Go(func() error { return served("S3", e.front.Serve(ports.s3)) })
	serving.Go(func() error { return served("internal", rpc.Serve(ports.rpc)) })
	serving.Go(func() error {
		<-ctx.Done()
		e.log.Info("stopping: new requests are refused, those under way may finish", "grace", e.cfg.grace)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.cfg.grace)
		defer cancel()
		return errors.Join(e.front.Shutdown(drain), rpc.Close())
	})
	return serving.Wait()
}

// served says which listener ended, if it did not end as it was told.
func served(name string, err error) error {
	if err == nil || errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return fmt.Errorf("%s listener: %w", name, err)
}

// refuse answers strangers on the internal port: in one process nobody calls there.
func refuse(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "this node takes no calls from others", http.StatusForbidden)
}

// removeGarbage removes what was deleted and what crashed uploads left, until ctx ends.
func (e *embedded) removeGarbage(ctx context.Context) {
	giveBack(ctx, e.blobs, e.meta, blob.GarbageConfig{Grace: e.cfg.keep}, e.log)
}

// giveBack works on the queues of all metadata groups, and sweeps, until ctx ends.
func giveBack(ctx context.Context, blobs *blob.Store, metadata *meta.Client, config blob.GarbageConfig, log *slog.Logger) {
	config.Groups = metadata.Groups()
	garbage, err := blob.NewGarbage(blobs, metadata, config)
	if err != nil {
		log.Error("deleted space is not given back", "error", err)
		return
	}
	sweep := blob.NewSweep(blobs, metadata, blob.SweepConfig{})
	var workers sync.WaitGroup
	workers.Go(func() { _ = garbage.Run(ctx) }) // its error is that of ctx
	workers.Go(func() { _ = sweep.Run(ctx) })
	workers.Wait()
}
