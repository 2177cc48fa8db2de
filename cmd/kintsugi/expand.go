package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// maxDrives bounds one server's drives: a mistyped range must not make thousands of directories.
const maxDrives = 256

// expandDirs turns the arguments of server into distinct paths; `{1...6}` stands for 1, 2, ... 6.
func expandDirs(args []string) ([]string, error) {
	var dirs []string
	seen := map[string]bool{}
	for _, arg := range args {
		expanded, err := expandRange(arg)
		if err != nil {
			return nil, err
		}
		for _, dir := range expanded {
			abs, err := filepath.Abs(dir)
			if err != nil {
				return nil, err
			}
			if seen[abs] {
				return nil, fmt.Errorf("drive %s is named twice", dir)
			}
			seen[abs] = true
			dirs = append(dirs, abs)
		}
	}
	if len(dirs) > maxDrives {
		return nil, fmt.Errorf("%d drives: one server takes at most %d", len(dirs), maxDrives)
	}
	return dirs, nil
}

// expandRange expands every {A...B} in arg. Leading zeros of A give the width: {01...12}.
func expandRange(arg string) ([]string, error) {
	open := strings.IndexByte(arg, '{')
	if open < 0 {
		return []string{arg}, nil
	}
	end := strings.IndexByte(arg[open:], '}')
	if end < 0 {
		return nil, fmt.Errorf("%q: a { without its }; write a range as {1...6}", arg)
	}
	first, last, ok := strings.Cut(arg[open+1:open+end], "...")
	from, errFrom := strconv.Atoi(first)
	to, errTo := strconv.Atoi(last)
	if !ok || errFrom != nil || errTo != nil || from < 0 || to < from || to-from >= maxDrives {
		return nil, fmt.Errorf("%q: write a range as {1...6}, of at most %d drives", arg, maxDrives)
	}
	tails, err := expandRange(arg[open+end+1:])
	if err != nil {
		return nil, err
	}
	var out []string
	for n := from; n <= to; n++ {
		for _, tail := range tails {
			out = append(out, fmt.Sprintf("%s%0*d%s", arg[:open], len(first), n, tail))
		}
	}
	return out, nil
}
