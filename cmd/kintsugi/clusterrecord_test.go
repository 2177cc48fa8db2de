package main

import (
	"os"
	"testing"

	"kintsugi/meta/membership"
	"kintsugi/placement"
)

func TestReadClusterRecord(t *testing.T) {
	founding := &membership.Founding{Cluster: placement.ClusterID{1}, Voters: []uint64{7, 8, 9}}
	reserved := &clusterRecord{Host: 7}
	founded := &clusterRecord{Host: 7, Founding: founding}
	born := &clusterRecord{Founding: founding}
	for _, c := range []struct {
		name    string
		records []*clusterRecord // of the drives, in order; nil: none
		host    uint64
		founded bool
	}{
		{"none", []*clusterRecord{nil, nil}, 0, false},
		{"reserved", []*clusterRecord{reserved, reserved}, 7, false},
		{"the first drive is empty", []*clusterRecord{nil, founded}, 7, true},
		{"the first drive was away when the cluster was founded", []*clusterRecord{reserved, founded}, 7, true},
		{"the last drive was away when the cluster was founded", []*clusterRecord{founded, reserved}, 7, true},
		{"the first drive was away when the replica was made", []*clusterRecord{founded, born}, 0, true},
		{"the last drive was away when the replica was made", []*clusterRecord{born, founded}, 0, true},
		{"the first drive was away for both", []*clusterRecord{reserved, born}, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var dirs []string
			for _, r := range c.records {
				dir := t.TempDir()
				dirs = append(dirs, dir)
				if r == nil {
					continue
				}
				if err := r.write(dir); err != nil {
					t.Fatal(err)
				}
			}
			got, err := readClusterRecord(dirs)
			if err != nil || got.Host != c.host || (got.Founding != nil) != c.founded {
				t.Errorf("%+v, %v, want host %d, founded %v", got, err, c.host, c.founded)
			}
		})
	}
	dir := t.TempDir()
	if err := os.WriteFile(clusterRecordPath(dir), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readClusterRecord([]string{dir}); err == nil {
		t.Error("a damaged record alone was taken for none")
	}
}
