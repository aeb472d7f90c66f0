// Package config turns a TOML file, the environment and the options of the Home
// Assistant app into one validated Config. It is the only importer of koanf.
//
// # Layers
//
// Later wins: defaults, the TOML file, the app's options (JSON, the same keys),
// the environment. koanf merges them. Meters are merged by name: in koanf they
// are a table of tables, not an array, because a variable that addresses an
// element of an array would replace the whole array.
//
// # Decision: nothing is decoded weakly
//
// koanf's own readers and decoder lose what a good message needs and let through
// what must not pass: a file position, the digits of 0.1 (it goes through a
// float), an unknown key, 30 for a duration (30 ns), 1.5 for an integer (1). So a
// leaf in koanf is a value: the text as written, its kind and where it stands.
// go-toml and encoding/json judge the syntax; go-toml's syntax tree and the JSON
// tokens then give texts and lines. A struct's koanf tags name the keys, and each
// field is filled by the one converter of its type, which takes the kinds it
// names and nothing else. Rejected: mapstructure with hooks, which must be told
// not to convert in a dozen places and knows no positions.
//
// # Mistakes
//
// Load tells every mistake in one go. Only what cannot be read at all, a missing
// file or broken syntax, ends it early, since what follows would be guesswork.
package config
