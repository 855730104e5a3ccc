package whip

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"sluice/controlplane"
	"sluice/controlplane/auth"
	"sluice/controlplane/fair"
	"sluice/controlplane/httpd"
	"sluice/controlplane/registry"
	"sluice/controlplane/sdp"
)

// refuse says why there is no session, and when to come again if that helps.
func refuse(w http.ResponseWriter, err error) {
	var bad *sdp.Error
	var mismatch *sdp.Mismatch
	var refusal *auth.Refusal
	var exceeded *fair.Exceeded
	status, title, retry := http.StatusInternalServerError, "", 0
	switch {
	case errors.As(err, &refusal):
		w.Header().Set("WWW-Authenticate", refusal.Challenge())
		httpd.Problem(w, refusal.Status(), "", refusal.Detail)
		return
	case errors.As(err, &exceeded):
		exceeded.Answer(w)
		return
	case err == controlplane.ErrRevoked:
		status = http.StatusForbidden
	case errors.As(err, &bad):
		status, title = http.StatusBadRequest, "Offer not usable"
	case errors.As(err, &mismatch):
		status, title = http.StatusUnprocessableEntity, "No codec in common"
	case err == registry.ErrPublished:
		status, title = http.StatusConflict, "Stream has a publisher"
	case err == registry.ErrNotLive:
		status, title, retry = http.StatusConflict, "Stream not live", 1
	case err == registry.ErrPending:
		status, title, retry = http.StatusTooManyRequests, "Too many pending sessions", 1
	case err == controlplane.ErrDraining:
		status, title, retry = http.StatusServiceUnavailable, "Shutting down", 10
	case err == controlplane.ErrAddress:
		status, title, retry = http.StatusServiceUnavailable, "No address", 10
	case err == registry.ErrFull, err == registry.ErrStreams, err == controlplane.ErrViewers, err == controlplane.ErrMemory:
		status, title, retry = http.StatusServiceUnavailable, "Limit reached", 10
	}
	if retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(retry))
	}
	detail := sentence(err.Error())
	if bad != nil {
		detail = badText("The offer", bad)
	}
	httpd.Problem(w, status, title, detail)
}

// badText says what is wrong with a text of the peer's; the error begins with a
// line number or a field's name.
func badText(what string, err *sdp.Error) string { return what + ", " + err.Error() + "." }

// sentence makes the text of an error one: errors begin small and end open.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

func (h *handler) noSession(w http.ResponseWriter, r *http.Request) {
	_, why := h.service.Lookup(r.PathValue("session"))
	noSession(w, why)
}

func noSession(w http.ResponseWriter, why string) {
	detail := "There is no such session; it may have ended. POST an offer for a new one."
	if why != "" {
		detail = "The session has ended: " + why + "."
	}
	httpd.Problem(w, http.StatusNotFound, "No such session", detail)
}
