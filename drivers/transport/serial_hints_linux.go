package transport

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
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

// holder finds a process that has device open. Without privileges it sees only
// processes of the same user; pid 0: none was seen.
func holder(device string) (name string, pid int) {
	descriptors, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, d := range descriptors {
		if target, err := os.Readlink(d); err != nil || target != device {
			continue
		}
		process := filepath.Dir(filepath.Dir(d))
		pid, _ = strconv.Atoi(filepath.Base(process))
		comm, _ := os.ReadFile(filepath.Join(process, "comm"))
		return strings.TrimSpace(string(comm)), pid
	}
	return "", 0
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
