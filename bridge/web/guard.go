package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"

	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Login lets in who knows the user name and the password (HTTP Basic, RFC 7617).
func Login(username string, password drivers.Secret) func(http.Handler) http.Handler {
	user, secret := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password.Reveal()))
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, given, _ := r.BasicAuth()
			gotUser, gotSecret := sha256.Sum256([]byte(name)), sha256.Sum256([]byte(given))
			right := subtle.ConstantTimeCompare(user[:], gotUser[:]) & subtle.ConstantTimeCompare(secret[:], gotSecret[:])
			if right != 1 {
				w.Header().Set("WWW-Authenticate", `Basic realm="meter2mqtt", charset="UTF-8"`)
				http.Error(w, "user name and password, please", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// Local lets in who asks this machine under its own name or address. Anything
// else is a page from elsewhere that has its own name lead here (DNS rebinding).
func Local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.Unmap().IsLoopback()) {
			http.Error(w, "ask for it by a loopback address, or set http.username and http.password_file", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// supervisor is where Home Assistant's proxy and its watchdog come from, inside
// of the network of apps.
var supervisor = netip.MustParseAddr("172.30.32.2")

// Ingress lets in Home Assistant's proxy, which has checked who asks, and the
// app's own container.
func Ingress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if ip := from.Addr().Unmap(); err != nil || ip != supervisor && !ip.IsLoopback() {
			http.Error(w, "open it in Home Assistant", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
