package rpc

import (
	"net"
	"syscall"
)

// probe returns what tells, without waiting, whether the other end has closed a TCP connection on which nothing should
// come; nil where that cannot be asked.
func probe(raw net.Conn) func() bool {
	tcp, ok := raw.(*net.TCPConn)
	if !ok {
		return nil
	}
	sys, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	var open bool
	look := func(fd uintptr) bool {
		var p [1]byte
		_, _, err := syscall.Recvfrom(int(fd), p[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = err == syscall.EAGAIN || err == syscall.EINTR
		return true // never wait
	}
	return func() bool { return sys.Read(look) == nil && open }
}
