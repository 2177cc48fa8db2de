package faultdisk

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/rpc"
	"net/rpc/jsonrpc"
	"sync"
)

// service is what the process offers to the one that started it.
type service struct {
	mu    sync.Mutex // guards disks
	disks map[string]*disk
}

// serviceName begins the names of the calls.
const serviceName = "Drives"

// Order is what is wanted of the drive in a directory.
type Order struct {
	Dir    string
	Faults Faults
	Seed   uint64 // of chance
	Torn   bool   // a cut leaves a part of what was not synced
}

// Done is the answer to every call.
type Done struct{}

// Serve obeys the calls that come over a connection until it ends, and then leaves all directories as they were. So nothing stays mounted
// when the process at the other end dies, however that happens.
func Serve(conn io.ReadWriteCloser) error {
	s := &service{disks: map[string]*disk{}}
	server := rpc.NewServer()
	if err := server.RegisterName(serviceName, s); err != nil {
		return err
	}
	server.ServeCodec(jsonrpc.NewServerCodec(conn))
	errs := make(chan error)
	for _, d := range s.disks {
		go func() { errs <- d.unmount() }()
	}
	var all error
	for range s.disks {
		all = errors.Join(all, <-errs)
	}
	return all
}

// Mount puts a file system over a directory.
func (s *service) Mount(o Order, _ *Done) error {
	d, err := mount(o.Dir)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disks[o.Dir] = d
	return nil
}

func (s *service) disk(dir string) (*disk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.disks[dir]
	if d == nil {
		return nil, fmt.Errorf("faultdisk: %s is not mounted", dir)
	}
	return d, nil
}

// Set says what is wrong with a drive from now on.
func (s *service) Set(o Order, _ *Done) error {
	d, err := s.disk(o.Dir)
	if err == nil {
		d.health.set(o.Faults, o.Seed)
	}
	return err
}

// Cut is a power cut. Nobody may have files of the drive open.
func (s *service) Cut(o Order, _ *Done) error {
	d, err := s.disk(o.Dir)
	if err != nil {
		return err
	}
	var chance *rand.Rand
	if o.Torn {
		chance = rand.New(rand.NewPCG(o.Seed, 0xc07))
	}
	return d.cut(chance)
}
