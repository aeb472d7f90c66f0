//go:build unix

package sim

import "syscall"

func setNonblock(fd uintptr) error { return syscall.SetNonblock(int(fd), true) }
