// Package service tells the service manager how the gateway is: systemd's
// sd_notify(3), where NOTIFY_SOCKET names its socket. Elsewhere nothing happens.
package service
