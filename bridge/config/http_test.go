package config

import "testing"

func TestHTTPBeyondLoopbackNeedsAPassword(t *testing.T) {
	const login = "username = \"ann\"\npassword = \"x\"\n"
	for listen, open := range map[string]bool{
		"127.0.0.1:8099": true, "localhost:0": true, "[::1]:8099": true, "127.8.8.8:80": true, "[::ffff:127.0.0.1]:80": true,
		"0.0.0.0:8099": false, ":8099": false, "[::]:8099": false, "192.168.1.5:8099": false,
	} {
		t.Run(listen, func(t *testing.T) {
			http := "[http]\nlisten = \"" + listen + "\"\n"
			_, mistakes := sources{toml: good + http}.load(t)
			if open != (len(mistakes) == 0) {
				t.Errorf("without a password: %v", mistakes)
			}
			c, mistakes := sources{toml: good + http + login}.load(t)
			if len(mistakes) > 0 || c.HTTP.Listen != listen {
				t.Errorf("with one: %v", mistakes)
			}
		})
	}
}
