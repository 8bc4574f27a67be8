package server

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed web
var web embed.FS

// page serves the chat page, which works without any network but this server.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Security-Policy", "default-src 'self'; style-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	files, err := fs.Sub(web, "web")
	if err != nil {
		panic(err)
	}
	http.StripPrefix("/web", http.FileServerFS(files)).ServeHTTP(w, r)
}
