//go:build !race

package blob

import "golang.org/x/sys/unix"

// Buffers lie outside of the Go heap: tens of megabytes of them would otherwise count as live
// and let the garbage collector wait until the heap is twice as large. They are
// page-aligned, and their pages go back to the system when they are freed.

const hugePage = 2 << 20 // bytes

func allocate(n int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil && n >= hugePage {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // advice; direct I/O of huge pages costs a quarter less of a large write
	}
	return b, err
}

func deallocate(b []byte) error { return unix.Munmap(b) }
