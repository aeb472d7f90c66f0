package transport

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// busyHint names who has the device open, as far as it can be seen.
func busyHint(device string) string {
	switch name, pid := holder(device); pid {
	case 0:
		return "stop the program that uses it; `sudo fuser -v " + device + "` names it"
	case os.Getpid():
		return "two meters name this adapter in different ways: write the same port for both"
	default:
		return "stop " + name + " (process " + strconv.Itoa(pid) + "), which has it open, or give it another port"
	}
}

// holder finds the process that has locked device, or else one that has it open;
// pid 0: none was seen.
func holder(device string) (name string, pid int) {
	if pid = locker(device); pid == 0 {
		pid = opener(device)
	}
	if pid == 0 {
		return "", 0
	}
	comm, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm"))
	if err != nil {
		return "a program", pid
	}
	return strings.TrimSpace(string(comm)), pid
}

// locker reads the kernel's list of locks, whose lines are
//
//	1: FLOCK  ADVISORY  WRITE 812 00:05:123 0 EOF
//
// with the process and the file as major:minor:inode, the former two in
// hexadecimal. See proc_locks(5).
func locker(device string) int {
	var st unix.Stat_t
	if unix.Stat(device, &st) != nil {
		return 0
	}
	dev := uint64(st.Dev) //nolint:unconvert // its width differs by architecture
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(dev), unix.Minor(dev), st.Ino)
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line)
		if len(f) >= 6 && f[1] == "FLOCK" && f[5] == file {
			pid, _ := strconv.Atoi(f[4]) // a process of another container has none here
			return max(pid, 0)
		}
	}
	return 0
}

// opener finds a process that has device open. Without privileges only those of
// the same user can be seen.
func opener(device string) int {
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, d := range descriptors {
		if target, err := os.Readlink(d); err == nil && target == device {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(d))))
			return pid
		}
	}
	return 0
}

// forbiddenHint names the group that may use the device.
func forbiddenHint(device string) string {
	const container = "; a container must be given the device"
	info, err := os.Stat(device)
	if err != nil {
		return "run as a user who may open " + device + container
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Perm()&0o060 != 0o060 {
		return "its own group may not use it either: set its permissions with a udev rule, or `sudo chmod g+rw " + device + "`" + container
	}
	group := strconv.FormatUint(uint64(st.Gid), 10)
	if g, err := user.LookupGroupId(group); err == nil {
		group = g.Name
	}
	return "add the user to the group " + group + ": `sudo usermod -aG " + group + " USER`, then log in anew" + container
}
