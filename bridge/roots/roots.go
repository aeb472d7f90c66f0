// Package roots gives TLS connections the certification authorities that the
// world trusts, on machines that have none: in an empty container there is no
// file of them.
package roots

import (
	"crypto/x509"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Ensure makes every TLS connection that names no CA of its own trust Mozilla's
// list if, and only if, the system has none. Call it before the first such
// connection; later calls do nothing. It takes some milliseconds, so who needs no
// TLS does not call it.
var Ensure = sync.OnceFunc(func() { x509.SetFallbackRoots(pool()) })

func pool() *x509.CertPool {
	p := x509.NewCertPool()
	for root := range bundle.Roots() {
		c, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			continue // of a kind that this Go does not know: nothing is signed by it that could be checked
		}
		if root.Constraint != nil {
			p.AddCertWithConstraint(c, root.Constraint)
			continue
		}
		p.AddCert(c)
	}
	return p
}
