package server

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed web
var web embed.FS

// newPage serves the chat page at / and what it is made of below /web; it works without any network but this server.
func newPage() http.HandlerFunc {
	root, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the name is not valid
	}
	page := http.FileServerFS(root)
	parts := http.StripPrefix("/web", page)
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		if r.URL.Path == "/" {
			page.ServeHTTP(w, r)
		} else {
			parts.ServeHTTP(w, r)
		}
	}
}
