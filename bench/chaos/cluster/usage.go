package cluster

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Usage is what a process has of the machine.
type Usage struct {
	Resident   int64 // bytes
	Threads    int
	Files      int // descriptors
	Goroutines int // 0 if it did not say
}

// Usage reads /proc.
func (n *Node) Usage() (Usage, error) {
	pid, _, _ := n.State()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Files: len(files)}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		number, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		switch v, _ := strconv.ParseInt(number, 10, 64); name {
		case "VmRSS":
			u.Resident = v << 10 // KiB
		case "Threads":
			u.Threads = int(v)
		}
	}
	return u, nil
}

// never is what no log may have.
var never = regexp.MustCompile(`(?m)^panic: |^fatal error: |DATA RACE|runtime error: |msg="?panic|unexpected fault address`)

// maxLogBytes bounds what of a log is looked at.
const maxLogBytes = 64 << 20

// Panics returns the lines about the first thing in the log that must never be there; nil if there is none.
func (n *Node) Panics() ([]string, error) {
	data, err := n.ReadLog(0, maxLogBytes)
	if err != nil {
		return nil, err
	}
	at := never.FindIndex(data)
	if at == nil {
		return nil, nil
	}
	const before, after = 300, 3000
	piece := data[max(0, at[0]-before):min(len(data), at[0]+after)]
	return strings.Split(string(bytes.TrimSpace(piece)), "\n"), nil
}

// LastLines are the end of a part of the log.
func (n *Node) LastLines(from, until int64, lines int) []string {
	const enough = 16 << 10
	from = max(from, until-enough)
	data, err := n.ReadLog(from, until-from)
	if err != nil || len(data) == 0 {
		return nil
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return all[max(0, len(all)-lines):]
}
