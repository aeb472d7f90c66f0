package packaging

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// project loads the compose file as `docker compose` does, which holds it against
// the schema of the compose specification.
func project(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../docker-compose.yml"}, cli.WithProfiles(profiles), cli.WithoutEnvironmentResolution)
	if err != nil {
		t.Fatal(err)
	}
	p, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeFileKeepsToTheSpecification(t *testing.T) {
	if got := project(t).ServiceNames(); !slices.Equal(got, []string{"meter2mqtt", "mosquitto"}) {
		t.Errorf("without a profile there are %v", got)
	}
	if got := project(t, "homeassistant").ServiceNames(); !slices.Equal(got, []string{"homeassistant", "meter2mqtt", "mosquitto"}) {
		t.Errorf("with Home Assistant there are %v", got)
	}
}

// A key that the specification does not know must not pass, or the test above
// would show nothing.
func TestAWrongComposeFileIsRefused(t *testing.T) {
	text, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	wrong := t.TempDir() + "/docker-compose.yml"
	if err := os.WriteFile(wrong, []byte(strings.Replace(string(text), "read_only: true", "readonly: true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{wrong})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := options.LoadProject(t.Context()); err == nil {
		t.Error("readonly was taken")
	}
}

func TestTheGatewayHasNoRightThatItDoesNotNeed(t *testing.T) {
	s := project(t).Services["meter2mqtt"]
	if !s.ReadOnly || s.Privileged || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.NetworkMode != "" {
		t.Errorf("read-only %v, privileged %v, capabilities -%v +%v, network %q", s.ReadOnly, s.Privileged, s.CapDrop, s.CapAdd, s.NetworkMode)
	}
	if len(s.Ports) > 0 {
		t.Errorf("it has ports: %v", s.Ports)
	}
	for _, p := range project(t).Services["mosquitto"].Ports {
		if p.HostIP != "127.0.0.1" {
			t.Errorf("a broker without a password listens on %s:%s", p.HostIP, p.Published)
		}
	}
}

// What the image has and the compose file does must be about the same places.
func TestComposeFileAndImageAgree(t *testing.T) {
	dockerfile, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, v := range project(t).Services["meter2mqtt"].Volumes {
		targets = append(targets, v.Target)
	}
	if !slices.Equal(targets, []string{"/config", "/data"}) {
		t.Errorf("volumes at %v", targets)
	}
	for _, want := range []string{"VOLUME /data\n", "METER2MQTT_STATE__DIR=/data\n", `"-c", "/config/meter2mqtt.toml"`, "USER 65532:65532\n", `CMD ["/meter2mqtt", "health"]`} {
		if !strings.Contains(string(dockerfile), want) {
			t.Errorf("%q is missing from the Dockerfile", want)
		}
	}
}
