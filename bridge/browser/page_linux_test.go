package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/rs/zerolog"

	"github.com/meter2mqtt/meter2mqtt/bridge"
	"github.com/meter2mqtt/meter2mqtt/bridge/brokertest"
	"github.com/meter2mqtt/meter2mqtt/bridge/config"
	"github.com/meter2mqtt/meter2mqtt/drivers/canary"
	"github.com/meter2mqtt/meter2mqtt/drivers/porttest"
	"github.com/meter2mqtt/meter2mqtt/drivers/sim"
)

// simulated is a meter on a TCP line of its own.
func simulated(t *testing.T, driver string, o sim.Options) (port string) {
	t.Helper()
	meter, err := sim.New(driver, o)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := sim.Listen(t.Context(), "tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, unplug := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = listener.Serve(ctx, meter.Serve) })
	t.Cleanup(func() {
		unplug()
		done.Wait()
		_ = listener.Close()
	})
	return listener.Addr()
}

// gateway runs one with a meter of each kind that the page shows differently, and
// gives the page's address.
func gateway(t *testing.T) (page string) {
	t.Helper()
	broker := brokertest.New(t)
	broker.Login.Username, broker.Login.Password = "gateway", canary.MQTTPassword
	broker.Start()
	t.Cleanup(broker.Stop)
	address := porttest.Address(t)
	state := t.TempDir()
	text := fmt.Sprintf(`
[mqtt]
url = %q
username = "gateway"
password = %q
[state]
dir = %q
[http]
listen = %q
[[meter]]
name = "mains"
label = "Mains <b>bold</b>"
driver = "p1"
port = %q
[[meter]]
name = "heat"
label = "Heat, flat 3"
driver = "mbus"
port = %q
address = "1"
every = "2s"
[[meter]]
name = "feeder"
label = "Feeder"
driver = "iec62056-21"
port = %q
every = "2s"
timezone = "Europe/Amsterdam"
password = %q
write = ["clock", "limit"]
registers = ["limit C.3.9 number kW 0..10"]
`, broker.URL(), canary.MQTTPassword, state, address,
		simulated(t, "p1", sim.Options{Period: 500 * time.Millisecond, Faults: []string{"bad-crc=5"}}),
		simulated(t, "mbus", sim.Options{}), simulated(t, "iec62056-21", sim.Options{}), sim.ExamplePassword)
	file := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	b, err := bridge.New(c, bridge.Options{Version: "1.0.0", Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		stop()
		done.Wait()
	})
	page = "http://" + address + "/"
	until(t, "the page is served", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, page+"healthz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil
	})
	canary.KeepFolder(t, state)
	t.Cleanup(func() { keepServed(t, page, "", "report", "metrics", "frames?meter=mains") })
	return page
}

// keepServed keeps what the gateway serves.
func keepServed(t *testing.T, page string, paths ...string) {
	t.Helper()
	for _, path := range paths {
		request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, page+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Error(err)
			continue
		}
		b, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		_ = answer.Body.Close()
		canary.Keep(t, "page "+path, b)
	}
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(Limit); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("waited %s until %s", Limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// complaints gathers what the browser says against the page: errors of the script,
// what the content security policy refused, what could not be loaded.
func complaints(ctx context.Context, t *testing.T) func() []string {
	t.Helper()
	var mu sync.Mutex
	var all []string
	err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			all = append(all, e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
		case *log.EventEntryAdded:
			all = append(all, e.Entry.Text+" "+e.Entry.URL)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

func TestThePageShowsMetersAsTheyAre(t *testing.T) {
	page := gateway(t)
	ctx := Chromium(t)
	said := complaints(ctx, t)
	var title, markup, value string
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(1280, 900),
		chromedp.Navigate(page),
		Shows(`document.querySelectorAll('#meters article .state.online').length === 3`),
		Shows(`/^[0-9]+\.[0-9]{3} kWh$/.test(document.querySelector('[data-meter=mains] tr[data-key="1-0:1.8.0"] td').textContent)`),
		Shows(`document.querySelector('[data-meter=heat] tr[data-key="6-0:1.0.0"]') !== null`),
		Shows(`!document.querySelector('[data-meter=mains] .refused').hidden`),
		Reads(&title, `document.querySelector('[data-meter=mains] h2').textContent`),
		Reads(&markup, `document.querySelector('[data-meter=mains] h2').innerHTML`),
		Reads(&value, `document.querySelector('[data-meter=mains] tr[data-key="1-0:1.8.0"] td').textContent`),
	)
	if err != nil {
		t.Fatal(err)
	}
	if title != "Mains <b>bold</b>" || strings.Contains(markup, "<b>") {
		t.Errorf("the label became markup: %q", markup)
	}
	for _, scheme := range []string{"light", "dark"} {
		feature := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}
		var background string
		err := chromedp.Do(ctx,
			chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
				_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: feature})
				return err
			}),
			Reads(&background, `getComputedStyle(document.body).backgroundColor`))
		if want := map[string]string{"light": "rgb(243, 245, 247)", "dark": "rgb(20, 24, 28)"}[scheme]; err != nil || background != want {
			t.Errorf("%s: the page is %s, %v", scheme, background, err)
		}
		Picture(ctx, t, "status-page-"+scheme)
	}
	if all := said(); len(all) > 0 {
		t.Errorf("the browser complains:\n%s", strings.Join(all, "\n"))
	}
}

// A phone shows everything without scrolling sideways.
func TestThePageFitsAPhone(t *testing.T) {
	page := gateway(t)
	ctx := Chromium(t)
	var wide bool
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile),
		chromedp.Navigate(page),
		Shows(`document.querySelectorAll('#meters article .state.online').length === 3`),
		Shows(`!document.querySelector('[data-meter=mains] .more').hidden`),
		chromedp.Click(`[data-meter=mains] .more`),
		Shows(`document.querySelector('[data-meter=mains] .more').getAttribute('aria-expanded') === 'true'`),
		Reads(&wide, `document.documentElement.scrollWidth > document.documentElement.clientWidth`),
	)
	if err != nil {
		t.Fatal(err)
	}
	if wide {
		t.Error("the page is wider than the phone")
	}
	Picture(ctx, t, "status-page-phone")
}

func TestARefusedFrameIsExplainedByteByByte(t *testing.T) {
	page := gateway(t)
	ctx := Chromium(t)
	var why, bad string
	var bytes, spans int
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(1280, 900),
		chromedp.Navigate(page),
		Shows(`document.querySelector('[data-meter=mains] .refused') && !document.querySelector('[data-meter=mains] .refused').hidden`),
		chromedp.Click(`[data-meter=mains] .refused`),
		Shows(`document.querySelector('#frames .frame tr.bad') !== null`),
		Reads(&why, `document.querySelector('#frames .frame h3').textContent`),
		Reads(&bad, `document.querySelector('#frames .frame tr.bad').textContent`),
		Reads(&spans, `document.querySelectorAll('#frames .frame:first-child tbody tr').length`),
		Reads(&bytes, `[...document.querySelectorAll('#frames .frame:first-child td.bytes')].reduce((n, c) => n + c.textContent.split(' ').length, 0)`),
	)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(why, "checksum does not fit") || !strings.Contains(bad, "CRC") || spans < 20 || bytes < 500 {
		t.Errorf("%q: %q, %d spans of %d bytes", why, bad, spans, bytes)
	}
	Picture(ctx, t, "status-page-refused-frame")
}

func TestAParameterIsWrittenFromThePage(t *testing.T) {
	page := gateway(t)
	ctx := Chromium(t)
	form := `[data-meter=feeder] form[data-parameter=limit] `
	answer := func(says string) chromedp.Action[chromedp.Void] {
		return Shows(fmt.Sprintf(`document.querySelector('%s.answer').textContent.includes(%q)`, form, says))
	}
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(1280, 900),
		chromedp.Navigate(page),
		chromedp.WaitVisible(form+`input`),
		chromedp.SetValue(form+`input`, "7"),
		chromedp.Click(form+`button[type=submit]`),
		answer("Written and read back: 7"),
		chromedp.SetValue(form+`input`, "11"),
		chromedp.Click(form+`button[type=submit]`),
		answer("limit takes 0 to 10 kW"),
	)
	if err != nil {
		t.Fatal(err)
	}
	Picture(ctx, t, "status-page-parameter")
}

func TestALineIsSearchedFromThePage(t *testing.T) {
	page := gateway(t)
	ctx := Chromium(t)
	var tables string
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(1280, 900),
		chromedp.Navigate(page),
		chromedp.WaitVisible(`#scan-form`),
		chromedp.SetValue(`#scan-form select[name=way]`, "primary"),
		chromedp.Click(`#scan-form button[type=submit]`),
		Shows(`!document.getElementById('scan-stop').hidden`),
		Shows(`document.getElementById('scan-found').textContent.includes('driver = "mbus"')`),
		chromedp.Click(`#scan-stop`),
		Shows(`document.getElementById('scan-state').textContent.includes('stopped')`),
		Reads(&tables, `document.querySelector('#scan-found').textContent`),
	)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(tables, "[[meter]]") || !strings.Contains(tables, `address = `) {
		t.Errorf("the configuration of what was found: %q", tables)
	}
	Picture(ctx, t, "status-page-search")
}

// A screen reader finds a name for everything that can be used or looked at.
func TestEverythingOnThePageHasAName(t *testing.T) {
	page := gateway(t)
	ctx := Chromium(t)
	var nameless []string
	err := chromedp.Do(ctx,
		chromedp.Navigate(page),
		chromedp.WaitVisible(`[data-meter=feeder] form input`),
		chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
			tree, err := cdp.Call(ctx, target, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
			if err != nil {
				return err
			}
			for _, n := range tree.Nodes {
				if !n.Ignored && mustBeNamed[text(n.Role)] && text(n.Name) == "" {
					nameless = append(nameless, text(n.Role))
				}
			}
			return nil
		}),
	)
	if err != nil || len(nameless) > 0 {
		t.Errorf("without a name: %v, %v", nameless, err)
	}
}

var mustBeNamed = map[string]bool{
	"button": true, "link": true, "textbox": true, "combobox": true, "img": true, "image": true,
	"table": true, "region": true, "heading": true, "dialog": true, "progressbar": true, "article": true,
}

func text(v *accessibility.Value) string {
	var s string
	if v == nil || json.Unmarshal(v.Value, &s) != nil {
		return ""
	}
	return s
}

// password is the meters' own; its zeros are also in the middle of numbers like
// 0.30000000000000004.
var password = regexp.MustCompile(`(^|[^0-9.])` + sim.ExamplePassword + `($|[^0-9])`)

// What the page is told holds no secret, and nobody else's page may write.
func TestThePageTellsNoSecretAndTakesNoOrderFromElsewhere(t *testing.T) {
	page := gateway(t)
	for _, path := range []string{"healthz", "metrics", "report", "frames?meter=mains"} {
		if body, err := fetch(t, page+path); err != nil || password.MatchString(body) {
			t.Errorf("%s: %v\n%.2000s", path, err, body)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page+"command",
		strings.NewReader(`{"meter":"feeder","parameter":"limit","value":"3"}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	answer, err := http.DefaultClient.Do(request)
	if err != nil || answer.StatusCode != http.StatusForbidden {
		t.Errorf("%v, %v", answer, err)
	}
	if err == nil {
		_ = answer.Body.Close()
	}
}

func fetch(t *testing.T, url string) (body string, err error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	_, err = fmt.Fprint(&b, answer.Status, "\n")
	buffer := make([]byte, 64<<10)
	for err == nil {
		var n int
		n, err = answer.Body.Read(buffer)
		b.Write(buffer[:n])
	}
	return b.String(), errors.Join(answer.Body.Close())
}
