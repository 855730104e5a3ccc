package whip

import (
	"errors"
	"net/http"
	"strings"

	"sluice/controlplane"
	"sluice/controlplane/httpd"
	"sluice/controlplane/sdp"
)

// fragmentType is the media type of trickle ICE fragments (RFC 8840 section 9.1).
const fragmentType = "application/trickle-ice-sdpfrag"

// maxFragment bounds a fragment, in bytes.
const maxFragment = 32 << 10

// patch takes candidates or restarts ICE (RFC 9725 section 4.3), or takes the
// answer to a counter-offer.
func (h *handler) patch(w http.ResponseWriter, r *http.Request) {
	if exceeded := h.patches.Check(r); exceeded != nil {
		exceeded.Answer(w)
		return
	}
	h.patches.Use(r)
	token := r.PathValue("session")
	if exists, why := h.service.Lookup(token); !exists {
		noSession(w, why)
		return
	}
	if contentType(r) == offerType {
		h.answer(w, r, token)
		return
	}
	if contentType(r) != fragmentType {
		w.Header().Set("Accept-Patch", fragmentType)
		httpd.Problem(w, http.StatusUnsupportedMediaType, "", "Send the fragment with Content-Type: "+fragmentType+".")
		return
	}
	fragment, ok := body(w, r, "A fragment", maxFragment)
	if !ok {
		return
	}
	session, err := h.service.Trickle(token, fragment, func(etag string, restart bool) error {
		return precondition(r, etag, h.needsMatch(restart))
	})
	switch {
	case err != nil:
		h.refusePatch(w, token, err)
	case session == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		head := w.Header()
		head.Set("ETag", session.ETag)
		head.Set("Content-Type", fragmentType)
		head.Set("Cache-Control", "no-store")
		w.Write(session.Answer) // a client that went away has no one to tell
	}
}

// answer takes the answer to a counter-offer (draft-ietf-wish-whep, "Server Sends
// Counter-Offer").
func (h *handler) answer(w http.ResponseWriter, r *http.Request, token string) {
	answer, ok := body(w, r, "An answer", maxOffer)
	if !ok {
		return
	}
	if err := h.service.Answer(token, answer); err != nil {
		h.refusePatch(w, token, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// needsMatch reports whether If-Match must be there.
func (h *handler) needsMatch(restart bool) bool {
	when := ifMatch.Get(h.tree)
	return when == matchAlways || when == matchRestart && restart
}

// What is wrong with If-Match.
var (
	errNoMatch = errors.New(`say by If-Match which ICE session is meant: with the ETag of the last answer, or with * to restart ICE`)
	errStale   = errors.New("If-Match names another ICE session than the current one; take the ETag of the last answer")
)

// precondition compares If-Match with the session's entity tag (RFC 9110 section
// 13.1.1). The examples of RFC 9725 have quotes around the asterisk, so some
// clients do.
func precondition(r *http.Request, etag string, needed bool) error {
	values := r.Header.Values("If-Match")
	if len(values) == 0 && needed {
		return errNoMatch
	}
	if len(values) == 0 {
		return nil
	}
	for tag := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if tag = strings.TrimSpace(tag); tag == etag || tag == "*" || tag == `"*"` {
			return nil
		}
	}
	return errStale
}

func (h *handler) refusePatch(w http.ResponseWriter, token string, err error) {
	var bad *sdp.Error
	switch {
	case errors.As(err, &bad):
		httpd.Problem(w, http.StatusBadRequest, "Description not usable", badText("What was sent", bad))
	case err == controlplane.ErrNotOffered:
		w.Header().Set("Accept-Patch", fragmentType)
		httpd.Problem(w, http.StatusUnsupportedMediaType, "", sentence(err.Error())+" Send a fragment with Content-Type: "+fragmentType+".")
	case err == controlplane.ErrUnanswered:
		httpd.Problem(w, http.StatusConflict, "", sentence(err.Error()))
	case err == controlplane.ErrNoSession: // it ended while the fragment was on its way
		_, why := h.service.Lookup(token)
		noSession(w, why)
	case err == controlplane.ErrAddress:
		refuse(w, err)
	case err == errNoMatch:
		httpd.Problem(w, http.StatusPreconditionRequired, "", sentence(err.Error()))
	case err == errStale:
		httpd.Problem(w, http.StatusPreconditionFailed, "", sentence(err.Error()))
	default:
		httpd.Problem(w, http.StatusInternalServerError, "", sentence(err.Error()))
	}
}
