#!/bin/sh
# After the files are gone. A purge takes the configuration and the state along.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "$1" = purge ]; then
	rm -rf /etc/meter2mqtt /var/lib/private/meter2mqtt
	rm -f /var/lib/meter2mqtt
	if getent group meter2mqtt-conf >/dev/null; then
		groupdel meter2mqtt-conf
	fi
fi
