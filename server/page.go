package server

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed web
var web embed.FS

// newPage serves the chat page, which works without any network but this server.
func newPage() http.HandlerFunc {
	root, err := fs.Sub(web, "web")
	if err != nil {
		panic(err) // the name is not valid
	}
	files := http.StripPrefix("/web", http.FileServerFS(root))
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache")
		files.ServeHTTP(w, r)
	}
}
