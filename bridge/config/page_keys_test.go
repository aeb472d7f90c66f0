package config

import (
	"reflect"
	"time"

	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/transport"
)

// shownType is how the page calls a type and shows what is a value of it.
type shownType struct {
	word    string
	as      []string
	refused string
}

// pageTypes are the types of keys. What hangs on the section itself, a driver and a
// port, has only a word.
var pageTypes = map[reflect.Type]shownType{
	reflect.TypeFor[string]():               {"text", []string{`"a text in quotes"`}, `5`},
	reflect.TypeFor[Path]():                 {"path", []string{`"/etc/ssl/ca.pem"`, `"ca.pem"`}, `true`},
	reflect.TypeFor[drivers.File]():         {"path", []string{`"/etc/ssl/ca.pem"`, `"ca.pem"`}, `true`},
	reflect.TypeFor[bool]():                 {"true or false", []string{`true`, `false`}, `"yes"`},
	reflect.TypeFor[*bool]():                {`true, false or "auto"`, []string{`true`, `"auto"`}, `"yes"`},
	reflect.TypeFor[time.Duration]():        {"duration", []string{`"10s"`, `"5m"`, `"1h30m"`}, `30`},
	reflect.TypeFor[int]():                  {"whole number", []string{`2400`}, `2400.5`},
	reflect.TypeFor[drivers.Decimal]():      {"number, exactly as written", []string{`40`, `0.1`}, `"40"`},
	reflect.TypeFor[drivers.Address]():      {"address", []string{`"05"`, `5`}, `1.5`},
	reflect.TypeFor[*time.Location]():       {"time zone", []string{`"Europe/Amsterdam"`, `"UTC"`}, `"CEST"`},
	reflect.TypeFor[zerolog.Level]():        {"level of the log", []string{`"debug"`, `"warn"`}, `"verbose"`},
	reflect.TypeFor[Format]():               {"form of the log", []string{`"text"`}, `"xml"`},
	reflect.TypeFor[[]string]():             {"list of texts", []string{`["a", "b"]`, `"a, b"`}, `[1, 2]`},
	reflect.TypeFor[Power]():                {"power", []string{`"25kW"`, `"17.3 kW"`}, `25000`},
	reflect.TypeFor[Flow]():                 {"flow", []string{`"6m³/h"`, `"6m3/h"`}, `"6"`},
	reflect.TypeFor[Size]():                 {"size", []string{`"64MB"`, `"16MiB"`}, `"64"`},
	reflect.TypeFor[transport.TapAddress](): {"port, or address and port", []string{`2001`, `"192.168.1.5:2001"`}, `70000`},
}

// pageSections is what stands below the heading of a section.
var pageSections = map[string]string{
	"mqtt":          "The broker, and where in its topics: [topics.md](topics.md).",
	"homeassistant": "Whether and how Home Assistant hears of the meters: [energy-dashboard.md](energy-dashboard.md).",
	"state":         "Where readings wait while the broker is away, and what must be remembered over a restart: [history.md](history.md).",
	"http":          "Where health (`/healthz`), metrics for Prometheus (`/metrics`) and a page for people are served: [status-page.md](status-page.md).",
	"log":           "What is said on stderr.",
	meterSection:    "One table for each meter. These keys hold for every driver; the drivers' own follow.",
}

// shownKey is what the page shows of a key.
type shownKey struct {
	example string   // is taken
	with    string   // what else it takes: lines of the same table
	refused []string // what is not taken, for the sake of its limits
	of      string   // what its type is called, where that is no shared one
}

// pageKeys are the examples of every key, by section, or driver, and key. A key
// without one, and one without a key, fail the test of the page.
var pageKeys = map[string]shownKey{
	"mqtt.url":           {example: `"mqtts://broker.example"`, refused: []string{`"broker.example"`, `"http://broker.example"`, `"mqtt://user:word@broker.example"`}},
	"mqtt.username":      {example: `"meter2mqtt"`},
	"mqtt.password":      {example: `"of the broker"`, with: `username = "meter2mqtt"`},
	"mqtt.ca_file":       {example: `"ca.pem"`, with: `url = "mqtts://broker.example"`, refused: []string{`"gone.pem"`}},
	"mqtt.cert_file":     {example: `"client.pem"`, with: "url = \"mqtts://broker.example\"\ncert_key_file = \"client.key\"", refused: []string{`"gone.pem"`}},
	"mqtt.cert_key_file": {example: `"client.key"`, with: "url = \"mqtts://broker.example\"\ncert_file = \"client.pem\""},
	"mqtt.base":          {example: `"home/meters"`, refused: []string{`"home/#"`, `"/meters"`, `"homeassistant/meters"`}},
	"mqtt.client_id":     {example: `"meters-in-the-cellar"`},
	"mqtt.values":        {example: `true`},

	"homeassistant.discovery":    {example: `false`},
	"homeassistant.prefix":       {example: `"ha"`, refused: []string{`"ha/+"`}},
	"homeassistant.status_topic": {example: `"ha/status"`, refused: []string{`""`}},
	"homeassistant.url":          {example: `"ws://192.168.1.10:8123/api/websocket"`, with: `token = "of an administrator"`, refused: []string{`"http://192.168.1.10:8123"`, `""`}},
	"homeassistant.token":        {example: `"of an administrator"`, with: `url = "ws://192.168.1.10:8123/api/websocket"`},

	"state.dir": {example: `"/var/lib/meter2mqtt"`},
	"state.max": {example: `"256MB"`, refused: []string{`"100kB"`}},

	"http.listen":   {example: `"127.0.0.1:8099"`, refused: []string{`"0.0.0.0:8099"`, `"nas:8099"`}},
	"http.username": {example: `"me"`, with: `password = "for the page"`},
	"http.password": {example: `"for the page"`, with: `username = "me"`},

	"log.level":  {example: `"debug"`, refused: []string{`"verbose"`}},
	"log.format": {example: `"json"`, refused: []string{`"xml"`}},

	"meter.name":           {example: `"heat_pump"`, refused: []string{`"Heat pump"`}},
	"meter.label":          {example: `"Heat pump"`},
	"meter.driver":         {example: `"mbus"`, refused: []string{`"m-bus"`}, of: "name of a driver"},
	"meter.port":           {example: `"rfc2217://192.168.1.7:2217?baud=2400&mode=8E1"`, refused: []string{`"ftp://192.168.1.7:2217"`, `"tcp://192.168.1.7"`, `"serial:///dev/ttyUSB0?mode=9Z1"`}, of: "port"},
	"meter.tap":            {example: `"2001"`, with: `driver = "p1"`, refused: []string{`"70000"`}},
	"meter.every":          {example: `"10s"`, refused: []string{`10`, `"-10s"`}},
	"meter.timezone":       {example: `"Europe/Amsterdam"`, refused: []string{`"CEST"`}},
	"meter.factor":         {example: `40`, refused: []string{`0`}},
	"meter.voltage_factor": {example: `100`, refused: []string{`-1`}},
	"meter.max_power":      {example: `"17.3kW"`, refused: []string{`"0kW"`, `"17.3"`}},
	"meter.max_flow":       {example: `"6m³/h"`, refused: []string{`"6l"`}},
	"meter.exclude":        {example: `["1-0:99.97.0*", "0-2:*"]`, refused: []string{`["[0-2:*"]`}},
	"meter.backfill":       {example: `true`},
	"meter.retain":         {example: `true`, refused: []string{`"yes"`}},
	"meter.write":          {example: `["clock"]`, refused: []string{`["Clock"]`}},

	"p1.check":    {example: `"crc"`, refused: []string{`"md5"`}},
	"p1.key":      {example: `"00112233445566778899AABBCCDDEEFF"`, refused: []string{`"0011"`}},
	"p1.auth_key": {example: `"none"`, with: `key = "00112233445566778899AABBCCDDEEFF"`, refused: []string{`"0011"`}},

	"hdlc.key":      {example: `"00112233445566778899AABBCCDDEEFF"`, refused: []string{`"0011"`}},
	"hdlc.auth_key": {example: `"none"`, with: `key = "00112233445566778899AABBCCDDEEFF"`, refused: []string{`"0011"`}},
	"hdlc.clock":    {example: `"local"`, refused: []string{`"utc+2"`}},
	"hdlc.stuffing": {example: `true`},
	"hdlc.layout":   {example: `["1-0:1.7.0 W", "-", "1-0:32.7.0 0.1 V"]`, refused: []string{`["power"]`}},
	"hdlc.scale":    {example: `["1.8.0 Wh", "31.7.0 0.001 A"]`, refused: []string{`["1.8.0"]`}},

	"mbus.address":           {example: `"5"`, refused: []string{`"251"`}},
	"mbus.secondary":         {example: `"12345678"`, refused: []string{`"1234"`}},
	"mbus.fabrication":       {example: `"00004711"`, with: `secondary = "12345678"`, refused: []string{`"4711"`}},
	"mbus.baud":              {example: `2400`, refused: []string{`2401`}},
	"mbus.wake":              {example: `"2.2s"`, refused: []string{`"1m"`}},
	"mbus.application_reset": {example: `"50"`, refused: []string{`"soft"`}},
	"mbus.readout":           {example: `["06", "13", "FD17"]`, refused: []string{`["energy"]`}},
	"mbus.requests":          {example: `["10 7B FE 79 16"]`, refused: []string{`["10 7B FE 00 16"]`}},
	"mbus.records":           {example: `["limit 04FD0B 0..100", "valve 01FD1F switch"]`, refused: []string{`["limit"]`}},
	"mbus.alarm":             {example: `true`},
	"mbus.telegrams":         {example: `1`, refused: []string{`-1`}},
	"mbus.timeout":           {example: `"3s"`, refused: []string{`"1m"`}},
	"mbus.pause":             {example: `"500ms"`, refused: []string{`"1m"`}},
	"mbus.retries":           {example: `5`, refused: []string{`11`}},

	"wmbus.key": {example: `"00112233445566778899AABBCCDDEEFF"`, refused: []string{`"0011"`}},
	"wmbus.id":  {example: `"1234FFFF"`, refused: []string{`"1234"`}},

	"iec62056-21.address":             {example: `"12345678"`, refused: []string{`"12/34"`}},
	"iec62056-21.password":            {example: `"00000000"`, refused: []string{`"(0)"`}},
	"iec62056-21.level":               {example: `2`, refused: []string{`10`}},
	"iec62056-21.medium":              {example: `"gas"`, refused: []string{`"oil"`}},
	"iec62056-21.channel":             {example: `1`, refused: []string{`256`}},
	"iec62056-21.mode":                {example: `"C"`, refused: []string{`"E"`}},
	"iec62056-21.frame":               {example: `"8N1"`, refused: []string{`"9E1"`}},
	"iec62056-21.baud":                {example: `9600`, refused: []string{`1000`}},
	"iec62056-21.max_baud":            {example: `2400`, refused: []string{`1000`}},
	"iec62056-21.wake":                {example: `"fast"`, refused: []string{`"slow"`}},
	"iec62056-21.add_parity":          {example: `true`},
	"iec62056-21.table":               {example: `"2"`, refused: []string{`"23"`}},
	"iec62056-21.option":              {example: `"6"`, refused: []string{`"5"`}},
	"iec62056-21.ident_wait":          {example: `"10s"`, refused: []string{`"1ms"`}},
	"iec62056-21.answer_wait":         {example: `"8s"`, refused: []string{`"10m"`}},
	"iec62056-21.char_wait":           {example: `"3s"`, refused: []string{`"10m"`}},
	"iec62056-21.switch_wait":         {example: `"200ms"`, refused: []string{`"2s"`}},
	"iec62056-21.command":             {example: `"R5"`, refused: []string{`"R3"`}},
	"iec62056-21.argument":            {example: `"1"`, refused: []string{`"(1)"`}},
	"iec62056-21.write_with_password": {example: `true`},
	"iec62056-21.set_clock":           {example: `"0.9.129"`, refused: []string{`"0.9.3"`}},
	"iec62056-21.read":                {example: `["1.8.0", "2.8.0"]`, refused: []string{`["1.8.0()"]`}},
	"iec62056-21.registers":           {example: `["limit 0-0:17.0.0 number kW 0..10 level=2"]`, refused: []string{`["limit"]`}},
	"iec62056-21.profiles":            {example: `["P.01", "P.98"]`, refused: []string{`["P(01)"]`}},
	"iec62056-21.block":               {example: `10`, refused: []string{`100`}},

	"corus.layouts":      {example: `"corus-layouts.toml"`, refused: []string{`"gone.toml"`}},
	"corus.pulse_weight": {example: `0.1`, refused: []string{`-1`}},
	"corus.databases":    {example: `["interval", "daily"]`, refused: []string{`["weekly"]`}},
	"corus.fields":       {example: `"reduced"`, refused: []string{`"some"`}},
	"corus.select":       {example: `"076"`, refused: []string{`"051"`}},
	"corus.count":        {example: `false`},
	"corus.resume":       {example: `"continue"`, refused: []string{`"never"`}},
	"corus.hold":         {example: `true`},
	"corus.baud":         {example: `9600`, refused: []string{`1000`}},
	"corus.fast_baud":    {example: `19200`, with: `baud = 9600`, refused: []string{`1000`}},
	"corus.wake_wait":    {example: `"3s"`, refused: []string{`"1ms"`}},
	"corus.answer_wait":  {example: `"20s"`, refused: []string{`"10m"`}},
	"corus.char_wait":    {example: `"4s"`, refused: []string{`"10m"`}},

	"routeb.id":           {example: `"00112233445566778899AABBCCDDEEFF"`, with: `password = "0123456789AB"`, refused: []string{`"0011"`}},
	"routeb.password":     {example: `"0123456789AB"`, with: `id = "00112233445566778899AABBCCDDEEFF"`, refused: []string{`"0123"`}},
	"routeb.totals_every": {example: `"10m"`, refused: []string{`"48h"`}},
	"routeb.answer_wait":  {example: `"20s"`, refused: []string{`"10m"`}},
	"routeb.tries":        {example: `5`, refused: []string{`0`}},
	"routeb.request_gap":  {example: `"5s"`, refused: []string{`"10m"`}},
	"routeb.join_wait":    {example: `"90s"`, refused: []string{`"10m"`}},
	"routeb.retry_wait":   {example: `"5m"`, refused: []string{`"2h"`}},
	"routeb.set_with":     {example: `"setget"`, refused: []string{`"set"`}},

	"auto.key":      {example: `"00112233445566778899AABBCCDDEEFF"`, refused: []string{`"0011"`}},
	"auto.auth_key": {example: `"none"`, with: `key = "00112233445566778899AABBCCDDEEFF"`, refused: []string{`"0011"`}},
}
