package main

import (
	"context"
	"io"
	"testing"
	"time"
)

// TestStopWhileStarting tells a server to stop before and while it starts: that is no error, and it is soon done.
func TestStopWhileStarting(t *testing.T) {
	dirs := tempDrives(t, 3)
	cfg := serverConfig{dirs: dirs, s3Addr: "127.0.0.1:0", adminAddr: "127.0.0.1:0", rpcAddr: "127.0.0.1:0",
		region: "us-east-1", grace: time.Second, outAfter: time.Minute}
	for _, after := range []time.Duration{0, time.Millisecond, 20 * time.Millisecond, 100 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		if err := runServer(ctx, cfg, io.Discard, io.Discard); err != nil {
			t.Errorf("stopped after %v: %v", after, err)
		}
		cancel()
	}
}
