package roots

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// emptyRoot is set in the environment of the test that runs inside of one.
const emptyRoot = "METER2MQTT_TEST_EMPTY_ROOT"

// A program that is the only file of its root, as in our container, checks
// certificates. Before Ensure it cannot, or this would show nothing.
func TestCertificatesAreCheckedInAnEmptyRoot(t *testing.T) {
	if os.Getenv(emptyRoot) != "" {
		root := somebodysRoot(t)
		if _, err := root.Verify(x509.VerifyOptions{}); err == nil {
			t.Fatal("the root is not empty: the certificate is trusted before Ensure")
		}
		return
	}
	out := inEmptyRoot(t, "TestCertificatesAreCheckedInAnEmptyRoot")
	if !strings.Contains(out, "PASS: TestCertificatesAreCheckedInAnEmptyRoot") {
		t.Error(out)
	}
	out = inEmptyRoot(t, "TestEnsureMakesCertificatesTrusted")
	if !strings.Contains(out, "PASS: TestEnsureMakesCertificatesTrusted") {
		t.Error(out)
	}
}

func TestEnsureMakesCertificatesTrusted(t *testing.T) {
	if os.Getenv(emptyRoot) == "" {
		t.Skip("runs inside of an empty root, by TestCertificatesAreCheckedInAnEmptyRoot")
	}
	Ensure()
	if _, err := somebodysRoot(t).Verify(x509.VerifyOptions{}); err != nil {
		t.Error(err)
	}
}

// somebodysRoot is a CA that every list has.
func somebodysRoot(t *testing.T) *x509.Certificate {
	t.Helper()
	for r := range bundle.Roots() {
		c, err := x509.ParseCertificate(r.Certificate)
		if err != nil {
			t.Fatal(err)
		}
		if c.Subject.CommonName == "ISRG Root X1" {
			return c
		}
	}
	t.Fatal("ISRG Root X1 is not in the list")
	return nil
}

// inEmptyRoot runs one of these tests as the only program of an empty root.
func inEmptyRoot(t *testing.T, test string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI runs as root")
		}
		t.Skip("only root may change its root")
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", filepath.Join(dir, "test"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "/test", "-test.v", "-test.run", "^"+test+"$")
	cmd.Env = []string{emptyRoot + "=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return string(out)
}
