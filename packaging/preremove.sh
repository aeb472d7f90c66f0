#!/bin/sh
# Before the files go; on an upgrade ("upgrade", or 1 with rpm) the service goes on.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now meter2mqtt.service
	fi
	;;
esac
