#!/bin/sh
# After unpacking, and after an upgrade: the group, then the configuration's rights.
set -e
if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers /usr/lib/sysusers.d/meter2mqtt.conf
elif ! getent group meter2mqtt-conf >/dev/null; then
	groupadd --system meter2mqtt-conf
fi
if [ ! -e /etc/meter2mqtt/config.toml ]; then
	# With the folder that systemd gives the service, `health` and `report` find it.
	sed 's|^#dir = ""$|dir = "/var/lib/meter2mqtt"|' \
		/usr/share/meter2mqtt/config.example.toml >/etc/meter2mqtt/config.toml
	echo "Edit /etc/meter2mqtt/config.toml, then: systemctl enable --now meter2mqtt"
fi
chown root:meter2mqtt-conf /etc/meter2mqtt /etc/meter2mqtt/config.toml
chmod 0750 /etc/meter2mqtt
chmod 0640 /etc/meter2mqtt/config.toml
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	systemctl try-restart meter2mqtt.service
fi
