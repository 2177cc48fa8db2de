package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// wipe kills nodes, empties their drives and starts them again: new disks in the place of the old ones.
func wipe(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	if err := killAll(ctx, nodes); err != nil {
		return nil, err
	}
	var errs error
	for _, n := range nodes {
		for _, dir := range n.Dirs {
			errs = errors.Join(errs, empty(dir))
		}
	}
	return nil, errors.Join(errs, k.startAll(nodes))
}

// empty removes what is in a directory.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// rollback copies the drives of nodes; undone, the copies take the place of what has become of them: a snapshot that is restored.
func rollback(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	if err := killAll(ctx, nodes); err != nil {
		return nil, err
	}
	var errs error
	for _, n := range nodes {
		for _, dir := range n.Dirs {
			errs = errors.Join(errs, os.CopyFS(k.copyOf(dir), os.DirFS(dir)))
		}
	}
	if err := errors.Join(errs, k.startAll(nodes)); err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		errs := killAll(ctx, nodes)
		for _, n := range nodes {
			for _, dir := range n.Dirs {
				errs = errors.Join(errs, empty(dir))
				errs = errors.Join(errs, os.CopyFS(dir, os.DirFS(k.copyOf(dir))), os.RemoveAll(k.copyOf(dir)))
			}
		}
		return errors.Join(errs, k.startAll(nodes))
	}, nil
}

// copyOf is where the copy of a drive is kept meanwhile.
func (k *Cluster) copyOf(dir string) string {
	return filepath.Join(k.config.Dir, "copies", strings.ReplaceAll(strings.TrimPrefix(dir, "/"), "/", "_"))
}

// swap kills two nodes, gives each the drives of the other, and starts them.
func swap(ctx context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	if len(nodes) != 2 || len(nodes[0].Dirs) != len(nodes[1].Dirs) {
		return nil, fmt.Errorf("%w: swap needs two nodes with as many drives", ErrCannot)
	}
	if k.config.Disk > 0 || k.drives != nil {
		return nil, fmt.Errorf("%w: file systems are not swapped while they are mounted", ErrCannot)
	}
	errs := killAll(ctx, nodes)
	for i, a := range nodes[0].Dirs {
		b, aside := nodes[1].Dirs[i], a+".aside"
		errs = errors.Join(errs, os.Rename(a, aside), os.Rename(b, a), os.Rename(aside, b))
	}
	return nil, errors.Join(errs, k.startAll(nodes))
}

// flip turns single bits around in files of running processes. It looks for files with bytes that are not zero: what is
// only reserved holds nothing that could be damaged.
func flip(_ context.Context, _ *Cluster, nodes []*Node, how How) (Undo, error) {
	for _, n := range nodes {
		files, err := n.files(how.Where)
		if err != nil {
			return nil, err
		}
		done := 0
		for tries := 0; done < how.Count && tries < 1000*how.Count && len(files) > 0; tries++ {
			ok, err := flipBit(files[how.Rand.IntN(len(files))], how.Rand.Int64(), how.Rand.IntN(8))
			if err != nil {
				return nil, err
			}
			if ok {
				done++
			}
		}
		if done == 0 {
			return nil, fmt.Errorf("cluster: %s has no %s to damage", n.Name, how.Where)
		}
	}
	return nil, nil
}

// flipBit flips a bit at about an offset, unless there are zeros only.
func flipBit(name string, offset int64, bit int) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // it was compacted away meanwhile
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	var p [64]byte
	n, err := f.ReadAt(p[:], offset%info.Size())
	for i := range n {
		if p[i] != 0 {
			p[i] ^= 1 << bit
			_, err = f.WriteAt(p[i:i+1], offset%info.Size()+int64(i))
			return err == nil, err
		}
	}
	if n == 0 {
		return false, err
	}
	return false, nil
}

// files are those of a node's shards or of its metadata, newest last.
func (n *Node) files(where string) (names []string, err error) {
	part := "shards"
	if where == "metadata" {
		part = "meta"
	}
	for _, dir := range n.Dirs {
		err := filepath.WalkDir(filepath.Join(dir, part), func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				names = append(names, name)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return names, nil
}

// maxTruncate bounds how many bytes of content a file loses.
const maxTruncate = 256 << 10

// truncate kills nodes, cuts the ends off the newest files of their shards and starts them.
func truncate(ctx context.Context, k *Cluster, nodes []*Node, how How) (Undo, error) {
	errs := killAll(ctx, nodes)
	for _, n := range nodes {
		files, err := n.files(how.Where)
		errs = errors.Join(errs, err)
		cut := 0
		for i := len(files) - 1; i >= 0 && cut < how.Count; i-- {
			size, err := contentSize(files[i])
			if err == nil && size > 0 {
				err = os.Truncate(files[i], max(0, size-1-how.Rand.Int64N(maxTruncate)))
				cut++
			}
			errs = errors.Join(errs, err)
		}
	}
	return nil, errors.Join(errs, k.startAll(nodes))
}

// contentSize is the size of a file without the zeros at its end.
func contentSize(name string) (int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	p := make([]byte, 1<<20)
	for end := info.Size(); end > 0; {
		begin := max(0, end-int64(len(p)))
		piece := p[:end-begin]
		if _, err := f.ReadAt(piece, begin); err != nil {
			return 0, err
		}
		for i := len(piece) - 1; i >= 0; i-- {
			if piece[i] != 0 {
				return begin + int64(i) + 1, nil
			}
		}
		end = begin
	}
	return 0, nil
}

// ballast is the file that fills a drive.
const ballast = "ballast.of.chaos"

// fill takes all space of the nodes' drives; undone, it gives it back.
func fill(_ context.Context, k *Cluster, nodes []*Node, _ How) (Undo, error) {
	if len(k.mounts) == 0 {
		return nil, fmt.Errorf("%w: drives have no file systems of their own here: the scenario must give the disk's size, and only root can mount", ErrCannot)
	}
	var errs error
	for _, n := range nodes {
		for _, dir := range n.Dirs {
			errs = errors.Join(errs, fillUp(filepath.Join(dir, ballast)))
		}
	}
	return func(context.Context) (errs error) {
		for _, n := range nodes {
			for _, dir := range n.Dirs {
				errs = errors.Join(errs, os.Remove(filepath.Join(dir, ballast)))
			}
		}
		return errs
	}, errs
}

// fillUp takes all space there is: in large pieces first, which are only reserved, then to the last byte.
func fillUp(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	end := int64(0)
	for piece := int64(64 << 20); piece >= 4<<10; {
		switch err := unix.Fallocate(int(f.Fd()), 0, end, piece); {
		case err == nil:
			end += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		case errors.Is(err, unix.EOPNOTSUPP):
			piece = 0
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		if n, err := f.WriteAt(piece, end); errors.Is(err, unix.ENOSPC) {
			end, piece = end+int64(n), piece[:len(piece)/2]
		} else if err != nil {
			return err
		} else {
			end += int64(n)
		}
	}
	return nil
}

// mountDisks gives every drive of the storage nodes a file system of its own of the wanted size, with what the drive has already. The
// processes are away meanwhile.
func (k *Cluster) mountDisks(ctx context.Context) error {
	var nodes []*Node
	for _, n := range k.Nodes() {
		if n.Role == "storagenode" {
			nodes = append(nodes, n)
		}
	}
	errs := killAll(ctx, nodes)
	for _, n := range nodes {
		for _, dir := range n.Dirs {
			errs = errors.Join(errs, k.mountDisk(dir))
		}
	}
	return errors.Join(k.startAll(nodes), errs)
}

func (k *Cluster) mountDisk(dir string) error {
	keep := k.copyOf(dir)
	if err := os.CopyFS(keep, os.DirFS(dir)); err != nil {
		return err
	}
	defer os.RemoveAll(keep) // a copy of what is there
	options := fmt.Sprintf("size=%d,mode=0700", k.config.Disk)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		return fmt.Errorf("%w: mount a file system of %d bytes: %w", ErrCannot, k.config.Disk, err)
	}
	k.mounts = append(k.mounts, dir)
	return os.CopyFS(dir, os.DirFS(keep))
}

func (k *Cluster) unmount() (errs error) {
	for _, dir := range k.mounts {
		errs = errors.Join(errs, unix.Unmount(dir, unix.MNT_DETACH))
	}
	k.mounts = nil
	return errs
}
