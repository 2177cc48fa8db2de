package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// The archives in testdata/previous are what earlier releases left in six directories after a graceful stop. They are
// never made again once their release is out; this is how, with the release's own program:
//
//	git worktree add /tmp/release COMMIT && (cd /tmp/release && go build -o /tmp/kintsugi-release ./cmd/kintsugi)
//	KINTSUGI_RELEASE=/tmp/kintsugi-release KINTSUGI_ARCHIVE=$PWD/cmd/kintsugi/testdata/previous/VERSION.tar.gz \
//	    go test -run '^TestMakePrevious$' ./cmd/kintsugi
//
//	0.1.0  commit 271b43a: stores in one process only; code 4+2, five replicas of the metadata
const archives = "testdata/previous/*.tar.gz"

func TestMakePrevious(t *testing.T) {
	program, archive := os.Getenv("KINTSUGI_RELEASE"), os.Getenv("KINTSUGI_ARCHIVE")
	if program == "" || archive == "" {
		t.Skip("makes an archive of an earlier release")
	}
	p := &process{t: t, dirs: tempDrives(t, 6), log: &syncBuffer{}}
	p.startRelease(program) // the first start makes credentials
	p.stop()
	p.startRelease(program, "KINTSUGI_ROOT_ACCESS_KEY="+testAccessKey, "KINTSUGI_ROOT_SECRET_KEY="+testSecretKey)
	putKeepsakes(t, p.client())
	checkKeepsakes(t, p.client())
	p.stop()
	pack(t, filepath.Dir(p.dirs[0]), archive)
}

// startRelease starts another program than the present one.
func (p *process) startRelease(program string, env ...string) {
	p.t.Helper()
	args := []string{"server", "--s3-addr", "127.0.0.1:0", "--admin-addr", "127.0.0.1:0", "--rpc-addr", "127.0.0.1:0"}
	p.cmd = exec.Command(program, append(args, p.dirs...)...)
	p.cmd.Env, p.cmd.Stderr = append(os.Environ(), env...), p.log
	out, err := p.cmd.StdoutPipe()
	must(p.t, err)
	must(p.t, p.cmd.Start())
	p.t.Cleanup(p.kill)
	p.ended = make(chan struct{})
	ready := p.readReady(out)
	go func(ended chan struct{}) {
		defer close(ended)
		_, _ = io.Copy(io.Discard, out)
		p.exit = p.cmd.Wait()
	}(p.ended)
	if !ready {
		p.t.Fatalf("the release did not start\n%s", p.log)
	}
}

// fullSize is the PAX record with the size of a file whose last zeros were left out: segments are mostly empty.
const fullSize = "KINTSUGI.size"

// pack writes the tree below root into an archive.
func pack(t *testing.T, root, archive string) {
	t.Helper()
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	must(t, err)
	w := tar.NewWriter(z)
	must(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		kept := bytes.TrimRight(data, "\x00")
		err = w.WriteHeader(&tar.Header{
			Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(kept)), Format: tar.FormatPAX,
			PAXRecords: map[string]string{fullSize: strconv.Itoa(len(data))},
		})
		if err == nil {
			_, err = w.Write(kept)
		}
		return err
	}))
	must(t, errors.Join(w.Close(), z.Close(), os.MkdirAll(filepath.Dir(archive), 0o755), os.WriteFile(archive, out.Bytes(), 0o644)))
}

// unpack returns the drives of an archive.
func unpack(t *testing.T, archive string) (dirs []string) {
	t.Helper()
	packed, err := os.Open(archive)
	must(t, err)
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	must(t, err)
	root := t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		data, err := io.ReadAll(r)
		must(t, err)
		must(t, os.WriteFile(path, data, 0o600))
		size, err := strconv.ParseInt(h.PAXRecords[fullSize], 10, 64)
		must(t, err)
		must(t, os.Truncate(path, size))
	}
	dirs, err = filepath.Glob(filepath.Join(root, "*"))
	must(t, err)
	return dirs
}

// eachPrevious runs a test on the drives of every release.
func eachPrevious(t *testing.T, test func(t *testing.T, dirs []string)) {
	t.Helper()
	all, err := filepath.Glob(archives)
	if err != nil || len(all) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, archive := range all {
		t.Run(filepath.Base(archive), func(t *testing.T) { test(t, unpack(t, archive)) })
	}
}

// What an earlier release wrote, this one reads, and goes on with.
func TestPreviousRelease(t *testing.T) {
	eachPrevious(t, func(t *testing.T, dirs []string) {
		if _, err := loadCredentials(dirs); err != nil {
			t.Errorf("its credentials: %v", err)
		}
		p := startProcess(t, dirs)
		checkKeepsakes(t, p.client())
		checkUnfinished(t, p.client())
		p.stop()
		p.start()
		checkKeepsakes(t, p.client())
		poll(t, time.Minute, "all chunks are whole", func() bool {
			s, _ := p.status()
			return s.isWhole()
		})
	})
}

// A store of an earlier release becomes the first node of a cluster.
func TestPreviousReleaseJoins(t *testing.T) {
	eachPrevious(t, func(t *testing.T, dirs []string) {
		c := joinStore(t, dirs)
		c.check()
	})
}
