package transport

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestTCPProbesAPeerThatFellSilent(t *testing.T) {
	port, accept := converter(t)
	l := mustOpen(t, port).(*tcpLine)
	accept()
	raw, err := l.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]int)
	err = raw.Control(func(fd uintptr) {
		for name, o := range map[string][2]int{
			"on":         {unix.SOL_SOCKET, unix.SO_KEEPALIVE},
			"idle s":     {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
			"interval s": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
			"count":      {unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
			"unacked ms": {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
		} {
			got[name], _ = unix.GetsockoptInt(int(fd), o[0], o[1])
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"on": 1, "idle s": 15, "interval s": 5, "count": 3, "unacked ms": 30000}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("socket options (-want +got):\n%s", diff)
	}
}
