package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"mime"
	"net/http"
	"strings"

	"sluice/controlplane/httpd"
	"sluice/netopt/attr"
)

// maxBody is the longest value and its newline.
const maxBody = attr.MaxBytes + 1

// attrs shows a tree over HTTP.
type attrs struct{ tree *attr.Tree }

// entry is an attribute as JSON. Value is null for what is write-only.
type entry struct {
	Path      string   `json:"path"`
	Value     *string  `json:"value"`
	Kind      string   `json:"kind"`
	Unit      string   `json:"unit,omitempty"`
	Mode      string   `json:"mode"`
	Boot      bool     `json:"boot,omitempty"` // fixed at start
	Min       *int64   `json:"min,omitempty"`
	Max       *int64   `json:"max,omitempty"`
	Default   *string  `json:"default,omitempty"`
	Values    []string `json:"values,omitempty"`
	Label     string   `json:"label,omitempty"`
	Stability string   `json:"stability"`
	Since     string   `json:"since"`
	Doc       string   `json:"doc"`
}

func (a attrs) get(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.PathValue("path"), "/")
	w.Header().Set("Vary", "Accept")
	if acceptsJSON(r) {
		a.getJSON(w, r, path)
		return
	}
	text, err := a.text(path)
	if err != nil {
		refuse(w, err)
		return
	}
	send(w, r, "text/plain; charset=utf-8", []byte(text))
}

// text is the value at path, or the paths below it.
func (a attrs) text(path string) (string, error) {
	paths, err := a.tree.List(path)
	if err != nil {
		return "", err
	}
	if len(paths) == 1 && paths[0] == path {
		value, err := a.tree.Get(path)
		return value + "\n", err
	}
	return strings.Join(paths, "\n") + "\n", nil
}

// getJSON sends one entry for an attribute, an array of them for a directory.
func (a attrs) getJSON(w http.ResponseWriter, r *http.Request, path string) {
	if _, err := a.tree.List(path); err != nil {
		refuse(w, err)
		return
	}
	var entries []entry
	a.tree.Walk(path, func(d *attr.Decl, text string) { entries = append(entries, describe(d, text)) })
	var answer any = entries
	if len(entries) == 1 && entries[0].Path == path {
		answer = entries[0]
	}
	body, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		panic("admin: entries always marshal: " + err.Error())
	}
	send(w, r, "application/json", append(body, '\n'))
}

func describe(d *attr.Decl, text string) entry {
	e := entry{
		Path: d.Path, Kind: d.Kind.String(), Unit: d.Unit,
		Mode: fmt.Sprintf("%04o", d.Mode.Perm()), Boot: d.Mode == attr.Boot,
		Values: d.Values, Label: d.Label,
		Stability: d.Stability.String(), Since: d.Since, Doc: strings.Join(d.Paragraphs(), "\n\n"),
	}
	if d.Mode != attr.WO {
		e.Value = &text
	}
	if d.Kind == attr.KindInt || d.Max > 0 {
		e.Min, e.Max = &d.Min, &d.Max
	}
	if !d.Kind.Metric() {
		initial := d.Initial()
		e.Default = &initial
	}
	return e
}

func (a attrs) put(w http.ResponseWriter, r *http.Request) {
	path := r.PathValue("path")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		httpd.Problem(w, http.StatusRequestEntityTooLarge, "", fmt.Sprintf("A value has at most %d bytes.", attr.MaxBytes))
		return
	case err != nil:
		httpd.Problem(w, http.StatusBadRequest, "Body incomplete", "The request ended before its body did; nothing was set.")
		return
	}
	if match := r.Header.Get("If-Match"); match != "" {
		a.putIf(w, path, match, string(body))
		return
	}
	if err := a.tree.Set(path, string(body)); err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// putIf sets the value if the old one, as sent by get, still has one of the tags
// in match (RFC 9110 section 13.1.1).
func (a attrs) putIf(w http.ResponseWriter, path, match, text string) {
	old, err := a.tree.Get(path)
	if err != nil {
		refuse(w, err)
		return
	}
	set := false
	if matches(match, tag([]byte(old+"\n"))) {
		set, err = a.tree.CompareAndSet(path, old, text)
	}
	switch {
	case err != nil:
		refuse(w, err)
	case !set:
		httpd.Problem(w, http.StatusPreconditionFailed, "Changed meanwhile", "The value is no longer the one that If-Match names. Read it again.")
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// statuses of the tree's errors.
var statuses = map[attr.Code]int{
	attr.EINVAL: http.StatusBadRequest,
	attr.ERANGE: http.StatusBadRequest,
	attr.EACCES: http.StatusForbidden,
	attr.ENOENT: http.StatusNotFound,
}

// refuse answers with a tree's error; its code is the problem's title.
func refuse(w http.ResponseWriter, err error) {
	var wrong *attr.Error
	if !errors.As(err, &wrong) {
		panic("admin: a tree's error is an *attr.Error: " + err.Error())
	}
	httpd.Problem(w, statuses[wrong.Code], string(wrong.Code), wrong.Error())
}

// send answers with body and its tag, or with 304 if the client has it.
func send(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	h := w.Header()
	h.Set("ETag", tag(body))
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	// Here weak tags, as a compressing proxy makes of ours, count too (RFC 9110 section 13.1.2).
	have := strings.ReplaceAll(r.Header.Get("If-None-Match"), `W/"`, `"`)
	if matches(have, tag(body)) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", contentType)
	w.Write(body)
}

// tag is the strong entity tag of body.
func tag(body []byte) string {
	sum := fnv.New128a()
	sum.Write(body)
	return fmt.Sprintf(`"%x"`, sum.Sum(nil))
}

// matches reports whether a list of entity tags holds tag or is "*". Our tags
// hold no comma.
func matches(list, tag string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if t = strings.TrimSpace(t); t == "*" || t == tag {
			return true
		}
	}
	return false
}

// acceptsJSON reports whether JSON was asked for by name. "*/*" gets text, as
// one types it into a shell.
func acceptsJSON(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			if media, _, err := mime.ParseMediaType(part); err == nil && media == "application/json" {
				return true
			}
		}
	}
	return false
}
