package browser

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// -pictures DIR leaves the pictures of the documents there.
var pictures = flag.String("pictures", "", "folder to write the documents' pictures to")

// Limit is how long a test may take: a browser is slow where much else runs.
const Limit = 5 * time.Minute

// patience is how long it waits for one thing.
const patience = 90 * time.Second

// Chromium is a browser of this test's own, that reaches nothing but this machine.
// Without one the test is skipped, in CI it fails.
func Chromium(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skip("chromium is not installed: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(allocator)
	t.Cleanup(leave)
	ctx, cancel := context.WithTimeout(ctx, Limit)
	t.Cleanup(cancel)
	return ctx
}

// Shows waits until an expression is true on the page.
func Shows(expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := chromedp.Poll[bool](expression, chromedp.WithPollingInterval(100*time.Millisecond), chromedp.WithPollingTimeout(patience))(ctx, target)
		if err != nil {
			return fmt.Errorf("waiting for %s: %w", expression, err)
		}
		return nil
	})
}

// Reads takes what an expression gives on the page.
func Reads[T any](into *T, expression string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, target *chromedp.Target) (err error) {
		*into, err = chromedp.Evaluate[T](expression)(ctx, target)
		return err
	})
}

// Picture writes down what the whole page looks like, if the flag asks for it.
func Picture(ctx context.Context, t *testing.T, name string) {
	t.Helper()
	if *pictures == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*pictures, name+".png"), png, 0o600); err != nil {
		t.Fatal(err)
	}
}
