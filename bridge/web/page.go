package web

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
)

// page is the status page: one document, its script, its style. Its links are
// relative, for ingress puts it below a path of its own.
//
//go:embed page
var page embed.FS

// pageFiles are the files of the page by their paths.
var pageFiles = map[string]struct{ file, kind string }{
	"/{$}":       {"index.html", "text/html; charset=utf-8"},
	"/page.js":   {"page.js", "text/javascript; charset=utf-8"},
	"/style.css": {"style.css", "text/css; charset=utf-8"},
	"/icon.svg":  {"icon.svg", "image/svg+xml"},
}

func serveFile(file, kind string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		b, err := fs.ReadFile(page, path.Join("page", file))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(b) // a visitor who has gone hears nothing
	}
}
