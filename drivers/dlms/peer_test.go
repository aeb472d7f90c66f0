package dlms

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// peerPython is the interpreter that has the packages gurux-dlms and dlms-cosem,
// which this code did not come from.
func peerPython(t *testing.T) string {
	t.Helper()
	python := cmp.Or(os.Getenv("DLMS_PEER_PYTHON"), "python3")
	out, err := exec.CommandContext(t.Context(), python, "-c", "import gurux_dlms, dlms_cosem").CombinedOutput()
	if err == nil {
		return python
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s has not gurux-dlms and dlms-cosem: %v\n%s", python, err, out)
	}
	t.Skip("needs gurux-dlms and dlms-cosem from PyPI: point DLMS_PEER_PYTHON to a python that has them")
	return ""
}

// job is one APDU for a peer to seal or to open.
type job struct {
	Peer     string `json:"peer"`
	Do       string `json:"do"`
	Suite    int    `json:"suite"`
	Security int    `json:"security"`
	Title    string `json:"title"`
	Counter  uint32 `json:"counter"`
	Key      string `json:"key"`
	Auth     string `json:"auth"`
	Data     string `json:"data"`
}

// ask lets the peers do all jobs: the result of each in bytes, or its error.
func ask(t *testing.T, jobs []job) (results [][]byte, errs []string) {
	t.Helper()
	in, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), peerPython(t), "testdata/peer.py")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal(out, &raw); err != nil || len(raw) != len(jobs) {
		t.Fatalf("%v: %s", err, out)
	}
	for _, r := range raw {
		var digits string
		var refused struct{ Error string }
		if json.Unmarshal(r, &digits) != nil {
			if err := json.Unmarshal(r, &refused); err != nil {
				t.Fatal(err)
			}
		}
		b, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		results, errs = append(results, b), append(errs, refused.Error)
	}
	return results, errs
}

// peerCase is a protection that a peer knows.
type peerCase struct {
	job
	clear []byte
}

func (c *peerCase) name() string {
	return fmt.Sprintf("%s suite %d security %02X, %d bytes", c.Peer, c.Suite, c.Security, len(c.clear))
}

func (c *peerCase) cipher(t *testing.T) *Cipher {
	t.Helper()
	keys := Keys{Encryption: mustKey(t, c.Key), Authentication: mustKey(t, c.Auth)}
	cipher, err := NewCipher(keys, func(text []byte) bool { return bytes.Equal(text, c.clear) })
	if err != nil {
		t.Fatal(err)
	}
	return cipher
}

// seal is what we make of the case.
func (c *peerCase) seal(t *testing.T) []byte {
	t.Helper()
	s := Security{Control: byte(c.Suite | c.Security), Counter: c.Counter}
	if _, err := hex.Decode(s.Title[:], []byte(c.Title)); err != nil {
		t.Fatal(err)
	}
	sealed, err := c.cipher(t).Seal(nil, s, c.clear)
	if err != nil {
		t.Fatalf("%s: %v", c.name(), err)
	}
	return sealed
}

// peerCases are all suites, protections and lengths that both sides know:
// dlms-cosem writes lengths of one byte only, and neither more than encryption
// with a tag; gurux-dlms knows each protection of AES-128.
func peerCases() (all []peerCase) {
	long := strings.Repeat("6A", 32)
	for i, n := range []int{1, 15, 16, 17, 90, 300} {
		text := bytes.Repeat([]byte{0x0F, byte(n), 0x5A}, n)[:n]
		add := func(peer string, suite, security int, key, auth string) {
			all = append(all, peerCase{job{
				Peer: peer, Suite: suite, Security: security, Title: "4D4D4D0000BC614E",
				Counter: 0x01234567 << (i % 3), Key: key, Auth: auth,
			}, text})
		}
		for _, security := range []int{authenticated, encrypted, authenticated | encrypted} {
			add("gurux-dlms", 0, security, bookKey, bookAuthKey)
			add("gurux-dlms", 1, security, bookKey, bookAuthKey)
		}
		if n < 100 {
			add("dlms-cosem", 0, authenticated|encrypted, bookKey, bookAuthKey)
			add("dlms-cosem", 1, authenticated|encrypted, bookKey, bookAuthKey)
			add("dlms-cosem", 2, authenticated|encrypted, long, strings.Repeat("B7", 32))
		}
	}
	return all
}

func TestWhatOthersSealIsOpened(t *testing.T) {
	cases := peerCases()
	jobs := make([]job, len(cases))
	for i, c := range cases {
		jobs[i] = c.job
		jobs[i].Do, jobs[i].Data = "seal", hex.EncodeToString(c.clear)
	}
	sealed, errs := ask(t, jobs)
	for i, c := range cases {
		if errs[i] != "" {
			t.Errorf("%s: %s", c.name(), errs[i])
			continue
		}
		text, info, err := c.cipher(t).Open(nil, sealed[i])
		if err != nil || !bytes.Equal(text, c.clear) || info.Counter != c.Counter || info.Suite() != c.Suite {
			t.Errorf("%s: %X, %+v, %v", c.name(), text, info, err)
		}
		if ours := c.seal(t); !bytes.Equal(ours, sealed[i]) {
			t.Errorf("%s: sealed %X, the peer %X", c.name(), ours, sealed[i])
		}
		if info.Checked != info.Authenticated() {
			t.Errorf("%s: checked %t", c.name(), info.Checked)
		}
	}
}

func TestWhatIsSealedOthersOpen(t *testing.T) {
	cases := peerCases()
	jobs := make([]job, 0, 2*len(cases))
	for _, c := range cases {
		sealed := c.seal(t)
		c.Do, c.Data = "open", hex.EncodeToString(sealed)
		bent := c.job
		bent.Data = c.Data[:len(c.Data)-1] + "0"
		if bent.Data == c.Data {
			bent.Data = c.Data[:len(c.Data)-1] + "1"
		}
		jobs = append(jobs, c.job, bent)
	}
	opened, errs := ask(t, jobs)
	for i, c := range cases {
		if errs[2*i] != "" || !bytes.Equal(opened[2*i], c.clear) {
			t.Errorf("%s: %X %s", c.name(), opened[2*i], errs[2*i])
		}
		if c.Peer == "dlms-cosem" && errs[2*i+1] == "" { // the other one looks at no tag
			t.Errorf("%s: the peer took a bent tag", c.name())
		}
	}
}
