package config

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/meter2mqtt/meter2mqtt/bridge/supervisor"
	"github.com/meter2mqtt/meter2mqtt/drivers"
)

// Where the Supervisor of Home Assistant puts things inside of an app.
const (
	appOptions = "/data/options.json" // what was filled in on its Configuration page
	appFolder  = "/config"            // what people put into addon_configs
	appFile    = appFolder + "/meter2mqtt.toml"
	appIngress = ":8099" // ingress_port of addon/config.yaml
)

// IsApp says whether this program runs as a Home Assistant app.
func IsApp() bool { return os.Getenv(supervisor.TokenVariable) != "" }

// LoadApp is Load for the app: its Configuration page and, if there is one, the
// file in its folder.
func LoadApp(env []string) (Config, error) {
	file := appFile
	if _, err := os.Stat(file); err != nil {
		file = ""
	}
	return Load(file, env, appOptions)
}

func tokenIn(env []string) drivers.Secret {
	for _, e := range env {
		if token, ok := strings.CutPrefix(e, supervisor.TokenVariable+"="); ok {
			return drivers.NewSecret(token)
		}
	}
	return drivers.Secret{}
}

func (l loader) isApp() bool { return !l.token.IsZero() }

// defaults are those of the program, and in the app those that fit there: the
// Supervisor's broker, ingress, and a log that people read.
func (l loader) defaults() Config {
	c := defaults()
	if !l.isApp() {
		return c
	}
	c.Supervisor = l.token
	c.MQTT.URL = ""
	c.HTTP.Ingress = appIngress
	c.Log.Format = FormatText
	return c
}

// folderOf is where the relative paths of a file start.
func folderOf(file string) string {
	if file == appOptions {
		return appFolder
	}
	return filepath.Dir(file)
}
