package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"kintsugi/cmd/kintsugi/admin"
	"kintsugi/placement"
	"kintsugi/storagenode/shardrpc"
	"kintsugi/storagenode/shardstore"
)

// status asks as kintsugi admin status does.
func (c *testCluster) status() (admin.Status, error) { return c.ask(true) }

// ask counts the chunks only if it must: that takes the drives longer than all the rest.
func (c *testCluster) ask(chunks bool) (admin.Status, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	return c.admin.Status(ctx, chunks)
}

// waitStatus waits for a state of the cluster and returns how long that took.
func (c *testCluster) waitStatus(limit time.Duration, what string, is func(admin.Status) bool) time.Duration {
	c.t.Helper()
	return c.waitAsked(true, limit, what, is)
}

// waitNodes is waitStatus for what is seen without counting chunks.
func (c *testCluster) waitNodes(limit time.Duration, what string, is func(admin.Status) bool) time.Duration {
	c.t.Helper()
	return c.waitAsked(false, limit, what, is)
}

func (c *testCluster) waitAsked(chunks bool, limit time.Duration, what string, is func(admin.Status) bool) time.Duration {
	c.t.Helper()
	began := time.Now()
	var last admin.Status
	var err error
	defer func() {
		if c.t.Failed() {
			var text bytes.Buffer
			fmt.Fprintf(&text, "last status: error %v\n", err)
			_ = admin.WriteStatus(&text, last) // to memory
			c.t.Log(text.String())
			c.tellDoubtful(last)
		}
	}()
	poll(c.t, limit, what, func() bool {
		last, err = c.ask(chunks)
		return err == nil && is(last)
	})
	return time.Since(began)
}

// tellDoubtful lists chunks that lack shards and are not of this minute, and who has which of them.
func (c *testCluster) tellDoubtful(s admin.Status) {
	addrs, found := map[string]string{}, map[placement.ShardID][]string{}
	for _, n := range s.Nodes {
		addrs[n.Name] = n.Addr
	}
	codes := map[placement.ShardID]shardstore.Info{}
	for _, d := range s.Drives {
		raw, err := hex.DecodeString(d.ID)
		if err != nil || !d.Live {
			continue
		}
		id := placement.DriveID(raw)
		drive := shardrpc.NewDrive(c.caller, addrs[d.Node], id, shardrpc.Options{})
		for p := range uint32(s.Partitions) {
			list, err := drive.List(c.t.Context(), p, placement.ShardID{}, 1000)
			if err != nil {
				c.t.Logf("list of %s: %v", d.Node, err)
				break
			}
			for _, i := range list {
				chunk := i.ID
				chunk.Index = 0
				found[chunk] = append(found[chunk], fmt.Sprintf("%d at %s (%s)", i.ID.Index, d.Node, time.Unix(i.Written, 0).UTC().Format("15:04:05")))
				codes[chunk] = i
			}
		}
	}
	told := 0
	for chunk, shards := range found {
		young := time.Since(time.Unix(codes[chunk].Written, 0)) < time.Minute
		if h := codes[chunk]; len(shards) != int(h.K)+int(h.M) && !young && told < 10 {
			told++
			c.t.Logf("%s of partition %d, %d+%d, epoch %d: %v", chunk, h.Partition, h.K, h.M, h.Epoch, shards)
		}
	}
}

// isRedundant tells whether every chunk has all its shards where the ring wants them, on drives that are there.
func isRedundant(s admin.Status) bool {
	if s.Chunks == nil || s.Chunks.Unreadable > 0 || s.Moving > 0 || s.Repair.PendingShards > 0 || s.Repair.PendingPartitions > 0 {
		return false
	}
	for lost, n := range s.Chunks.ByLost {
		if lost > 0 && n > 0 {
			return false
		}
	}
	for _, d := range s.Drives {
		if d.State == "new" || d.State == "up" && !d.Live {
			return false
		}
	}
	return true
}

// areUp tells whether all nodes are.
func areUp(s admin.Status) bool {
	return !slices.ContainsFunc(s.Nodes, func(n admin.Node) bool { return !n.Up })
}

// isUp tells whether the coordinator holds a node for up.
func isUp(s admin.Status, node string) bool {
	return slices.ContainsFunc(s.Nodes, func(n admin.Node) bool { return n.Name == node && n.Up })
}

// driveStates returns the state of each node's drives, by node.
func driveStates(s admin.Status) map[string][]string {
	states := map[string][]string{}
	for _, d := range s.Drives {
		states[d.Node] = append(states[d.Node], d.State)
	}
	return states
}

// metric sums a counter over its labels and all processes that answer.
func (c *testCluster) metric(name string) (sum float64) {
	var mu sync.Mutex
	var asking sync.WaitGroup
	for _, p := range c.processes() {
		asking.Go(func() {
			text, err := c.glance(p.Admin + "/metrics")
			if err != nil {
				return // it is dead or stopped
			}
			n := sumMetric(text, name)
			mu.Lock()
			sum += n
			mu.Unlock()
		})
	}
	asking.Wait()
	return sum
}

// glance asks an admin port whose process may not answer.
func (c *testCluster) glance(url string) (string, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(text), err
}

// sumMetric sums the samples of a metric in a page of /metrics.
func sumMetric(text, name string) (sum float64) {
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(line, name)
		if !found || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		var v float64
		if _, err := fmt.Sscan(rest[strings.LastIndexByte(strings.TrimSpace(rest), ' ')+1:], &v); err == nil {
			sum += v
		}
	}
	return sum
}
