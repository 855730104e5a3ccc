package admin

import (
	"encoding/json"
	"net/http"
	"strings"

	"sluice/controlplane/httpd"
)

// sessions sends the ids of all sessions, one a line.
func (o Options) sessions(w http.ResponseWriter, r *http.Request) {
	var text strings.Builder
	for _, id := range o.Sessions() {
		text.WriteString(id + "\n")
	}
	send(w, r, "text/plain; charset=utf-8", []byte(text.String()))
}

// session sends what there is to say of one session. It changes with every
// packet, so there is no other form of it in the tree.
func (o Options) session(w http.ResponseWriter, r *http.Request) {
	info, ok := o.Session(r.PathValue("id"))
	if !ok {
		httpd.Problem(w, http.StatusNotFound, "No such session", "No session has this id now. /attr/sessions/ lists those there are.")
		return
	}
	sendJSON(w, r, info)
}

func sendJSON(w http.ResponseWriter, r *http.Request, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("admin: pictures always marshal: " + err.Error())
	}
	send(w, r, "application/json", append(body, '\n'))
}
