package server

import (
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"github.com/ullm/ullm"
	"github.com/ullm/ullm/server/openai"
)

func describe(e *ullm.Engine) openai.Model {
	i := e.Info()
	return openai.Model{ID: i.Model, Object: "model", Created: i.Created.Unix(), OwnedBy: "ullm", MaxModelLen: i.Sizing.Context}
}

func (s *Server) models(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, openai.ModelList{Object: "list", Data: []openai.Model{describe(engineOf(r))}})
}

func (s *Server) model(w http.ResponseWriter, r *http.Request) {
	m := describe(engineOf(r))
	id := chi.URLParam(r, "*")
	if plain, err := url.PathUnescape(id); err == nil { // chi keeps %2F as it is
		id = plain
	}
	if id != m.ID {
		writeError(w, openai.NoSuchModel("there is no model "+id+"; this server has "+m.ID))
		return
	}
	writeJSON(w, http.StatusOK, m)
}
