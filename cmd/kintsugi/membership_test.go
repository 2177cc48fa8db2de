package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kintsugi/placement"
)

func TestNextChanges(t *testing.T) {
	now := time.Now()
	id := func(n byte) placement.DriveID { return placement.DriveID{n} }
	birth := func(n byte) *placement.Map {
		var drives []placement.Drive
		for i := range n {
			drives = append(drives, placement.Drive{ID: id(i + 1), Node: localNode, Weight: defaultWeight})
		}
		m, err := placement.Birth(placement.ClusterID{1}, 16, 2, 1, drives)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	givenUp := func(m *placement.Map, n byte) *placement.Map {
		next, err := m.With(placement.SetState{ID: id(n), State: placement.Out})
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	cases := []struct {
		name   string
		m      *placement.Map
		open   []byte
		newest []byte
		gone   map[byte]time.Duration // for how long
		want   string
	}{
		{"nothing happened", birth(4), []byte{1, 2, 3, 4}, nil, nil, ""},
		{"a drive is just gone", birth(4), []byte{1, 2, 3}, nil, map[byte]time.Duration{4: time.Second}, ""},
		{"a drive stays away", birth(4), []byte{1, 2, 3}, nil, map[byte]time.Duration{4: time.Hour}, "4 out"},
		{"but is not given up where its shards have nowhere to go", birth(3), []byte{1, 2}, nil, map[byte]time.Duration{3: time.Hour}, ""},
		{"a given up drive is back", givenUp(birth(4), 4), []byte{1, 2, 3, 4}, nil, nil, "4 up"},
		{"a new drive takes the place of a lost one", birth(4), []byte{1, 2, 3, 9}, []byte{9}, map[byte]time.Duration{4: time.Second}, "4 replaced by 9"},
		{"even of one that stays away", birth(4), []byte{1, 2, 3, 9}, []byte{9}, map[byte]time.Duration{4: time.Hour}, "4 replaced by 9"},
		{"a new drive after a lost one was given up", givenUp(birth(4), 4), []byte{1, 2, 3, 9}, []byte{9}, map[byte]time.Duration{4: time.Hour}, "4 removed, 9 added"},
		{"a new drive where none is lost", birth(4), []byte{1, 2, 3, 4, 9}, []byte{9}, nil, "9 added"},
		{"two lost, one new", birth(5), []byte{1, 2, 3, 9}, []byte{9}, map[byte]time.Duration{4: time.Second, 5: time.Second}, "4 replaced by 9"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := presence{open: map[placement.DriveID]bool{}, gone: map[placement.DriveID]time.Time{}}
			for _, n := range c.open {
				p.open[id(n)] = true
			}
			for _, n := range c.newest {
				p.newest = append(p.newest, id(n))
			}
			for n, d := range c.gone {
				p.gone[id(n)] = now.Add(-d)
			}
			changes := nextChanges(c.m, p, now, 5*time.Minute)
			if got := describeChanges(changes); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if len(changes) == 0 {
				return
			}
			if _, err := c.m.With(changes...); err != nil {
				t.Errorf("the map refuses them: %v", err)
			}
		})
	}
}

func describeChanges(changes []placement.Change) string {
	var words []string
	for _, c := range changes {
		switch c := c.(type) {
		case placement.AddDrive:
			words = append(words, fmt.Sprintf("%d added", c.Drive.ID[0]))
		case placement.RemoveDrive:
			words = append(words, fmt.Sprintf("%d removed", c.ID[0]))
		case placement.ReplaceDrive:
			words = append(words, fmt.Sprintf("%d replaced by %d", c.Old[0], c.New.ID[0]))
		case placement.SetState:
			words = append(words, fmt.Sprintf("%d %s", c.ID[0], c.State))
		}
	}
	return strings.Join(words, ", ")
}
