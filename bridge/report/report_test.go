package report

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
)

const telegram = "/ABC5METER-1\r\n\r\n0-0:96.1.1(4B3132333435363738)\r\n1-0:1.8.1(000123.400*kWh)\r\n!"

// refusalsOf are what a decoder of P1 meters refuses in a report.
func refusalsOf(t *testing.T, recording string) (refused []string, readings int) {
	t.Helper()
	d, err := p1.Driver.NewDecoder(p1.Driver.NewConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	err = capture.Decode(strings.NewReader(recording), d, capture.Sink{
		Reading: func(*drivers.Reading) error { readings++; return nil },
		Refused: func(e *drivers.FrameError) { refused = append(refused, Kind(e)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return refused, readings
}

func TestAReportPlaysBackItsRefusalsWithoutAnID(t *testing.T) {
	damaged := telegram + "1234\r\n"
	cut := "/ABC5METER-1\r\n\r\n1-0:1.8.1(000123.4\r\n" + telegram[:30]
	m := Meter{
		Name: "main", Driver: p1.Driver, Options: p1.Driver.NewConfig(), Hidden: []string{"K12345678", "hunter22"},
		Frames: []Frame{
			{At: time.Unix(1e9, 0), Kind: "CRC: checksum does not fit", Bytes: []byte(damaged + "/ABC")},
			{At: time.Unix(1e9, 0), Kind: "end line: ended too early", Bytes: []byte(cut)},
		},
	}
	var out bytes.Buffer
	if err := Write(&out, Head{Version: "1"}, []Meter{m}); err != nil {
		t.Fatal(err)
	}
	refused, readings := refusalsOf(t, out.String())
	want := []string{"CRC: checksum does not fit", "end line: ended too early"}
	if diff := cmp.Diff(want, refused); diff != "" || readings != 0 {
		t.Errorf("%d readings, refused (-want +got):\n%s\n%s", readings, diff, out.String())
	}
	for _, secret := range []string{"12345678", "4B3132333435363738", fmt.Sprintf("%x", "4B3132333435363738"), "hunter22"} {
		if strings.Contains(out.String(), secret) {
			t.Errorf("%s is in the report:\n%s", secret, out.String())
		}
	}
}

func TestAKindTellsNoID(t *testing.T) {
	inner := drivers.WithHint(fmt.Errorf("the key does not fit: %w", drivers.ErrAuth), "look")
	e := &drivers.FrameError{Field: "ciphering", Err: fmt.Errorf("system title KFM1234567890: %w", inner)}
	if got := Kind(e); strings.Contains(got, "KFM") || !errors.Is(e.Err, drivers.ErrAuth) {
		t.Errorf("kind %q", got)
	}
}

// options are a driver's keys.
type options struct {
	Key      drivers.Secret `koanf:"key"`
	Auth     drivers.Secret `koanf:"auth_key"`
	Password drivers.Secret `koanf:"password"`
	ID       string         `koanf:"id"`
	Baud     int            `koanf:"baud"`
	Retries  int            `koanf:"retries"`
}

func (*options) Validate() error { return nil }

func TestSecretsAndIDsOfAConfigurationAreMaskedAtTheirLength(t *testing.T) {
	c := &options{
		Key: drivers.NewSecret("0xAB:CD AB CD ABCDABCDABCDABCDABCDABCD"), Auth: drivers.NewSecret(canary.TextKey),
		Password: drivers.NewSecret(canary.MeterPassword), ID: "12345678", Baud: 300, Retries: 2,
	}
	shown, hidden := Options(c, &options{Retries: 2})
	want := map[string]string{
		"key": "00000000000000000000000000000000", "auth_key": "1111111111111111", "password": "********",
		"id": "00000000", "baud": "300",
	}
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	secrets := []string{"0xAB:CD AB CD ABCDABCDABCDABCDABCDABCD", canary.TextKey, canary.MeterPassword, "12345678"}
	if diff := cmp.Diff(secrets, hidden); diff != "" {
		t.Errorf("hidden (-want +got):\n%s", diff)
	}
	again, _ := Options(StandIn(c), &options{Retries: 2})
	if diff := cmp.Diff(want, again); diff != "" {
		t.Errorf("what stands in is not what is shown (-want +got):\n%s", diff)
	}
}

func TestAnAuthenticationKeyThatIsNoneIsShown(t *testing.T) {
	shown, hidden := Options(&options{Auth: drivers.NewSecret("None")}, &options{})
	if shown["auth_key"] != "none" || len(hidden) != 0 {
		t.Errorf("shown %q, hidden %q", shown, hidden)
	}
}

// A frame that nobody can take apart may hold an id anywhere.
func TestAFrameThatCannotBeMaskedIsLeftOut(t *testing.T) {
	mute := p1.Driver
	mute.Explain = nil
	keyless := p1.Driver
	keyless.NewDecoder = func(drivers.Config, drivers.Zones) (drivers.Decoder, error) { return nil, errors.New("no such map") }
	frames := []Frame{{At: time.Unix(1e9, 0), Kind: "CRC: checksum does not fit", Bytes: []byte(telegram + "1234\r\n")}}
	for name, c := range map[string]struct {
		m    Meter
		note string
	}{
		"a driver that explains nothing":   {Meter{Driver: mute, Frames: frames}, "it cannot be masked"},
		"a frame without a byte":           {Meter{Driver: p1.Driver, Frames: []Frame{{Kind: "CRC"}}}, "it cannot be masked"},
		"a decoder that there is no more":  {Meter{Driver: keyless, Frames: frames}, "refused for another reason"},
		"a reason that the bytes have not": {Meter{Driver: p1.Driver, Frames: []Frame{{Kind: "start: syntax", Bytes: []byte(telegram)}}}, "refused for another reason"},
	} {
		t.Run(name, func(t *testing.T) {
			c.m.Name, c.m.Options = "main", p1.Driver.NewConfig()
			var out bytes.Buffer
			if err := Write(&out, Head{Version: "1"}, []Meter{c.m}); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); !strings.Contains(got, c.note) || strings.Contains(got, "3132333435363738") || strings.Count(got, "\n") != 2 {
				t.Errorf("got %s", got)
			}
		})
	}
}

// full is a disk that takes so many lines.
type full struct{ left int }

func (f *full) Write(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, errors.New("no space left")
	}
	return len(p), nil
}

func TestAReportThatCannotBeWrittenIsAnError(t *testing.T) {
	m := Meter{Name: "main", Driver: p1.Driver, Options: p1.Driver.NewConfig(), Frames: []Frame{{Kind: "CRC"}}}
	for lines := range 2 {
		if err := Write(&full{lines}, Head{}, []Meter{m}); err == nil {
			t.Errorf("%d lines of two were written, and that was all right", lines)
		}
	}
	if err := Write(&full{2}, Head{}, []Meter{m}); err != nil {
		t.Error(err)
	}
}

// plain is a driver's configuration that is no pointer.
type plain struct{ ID string }

func (plain) Validate() error { return nil }

func TestAConfigurationOfAnotherShapeShowsNothing(t *testing.T) {
	c := plain{"12345678"}
	if shown, hidden := Options(c, c); len(shown) != 0 || hidden != nil {
		t.Errorf("shown %v, hidden %v", shown, hidden)
	}
	if got := StandIn(c); got != drivers.Config(c) {
		t.Errorf("stands in: %v", got)
	}
}
