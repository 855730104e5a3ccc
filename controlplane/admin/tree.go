package admin

import (
	"bytes"
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
	"sluice/netopt/attrsock"
)

// maxBody is the longest value and its newline.
const maxBody = attr.MaxBytes + 1

// maxChange bounds a change of many values, in bytes.
const maxChange = 4 << 20

// attrs shows a tree over HTTP.
type attrs struct {
	tree    *attr.Tree
	watches watches
}

func (a *attrs) get(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.PathValue("path"), "/")
	w.Header().Set("Vary", "Accept")
	switch {
	case accepts(r, "text/event-stream"):
		a.watch(w, r, path)
		return
	case accepts(r, "application/json"):
		a.getJSON(w, r, path)
		return
	}
	paths, err := a.tree.List(path)
	text := strings.Join(paths, "\n")
	if isLeaf(paths, path) {
		text, err = a.tree.Get(path)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	if !isLeaf(paths, path) {
		markDir(w, path)
	}
	send(w, r, "text/plain; charset=utf-8", []byte(text+"\n"))
}

// isLeaf reports whether the paths at and below path are path alone.
func isLeaf(paths []string, path string) bool { return len(paths) == 1 && paths[0] == path }

// markDir lets a client tell a directory: its name ends in a slash (RFC 9110
// section 8.7).
func markDir(w http.ResponseWriter, path string) {
	w.Header().Set("Content-Location", "/attr/"+strings.TrimPrefix(path+"/", "/"))
}

// getJSON sends one entry for an attribute, an array of them for a directory.
func (a *attrs) getJSON(w http.ResponseWriter, r *http.Request, path string) {
	paths, err := a.tree.List(path)
	if err != nil {
		refuse(w, err)
		return
	}
	entries := []attrsock.Entry{}
	a.tree.Walk(path, func(d *attr.Decl, text string) { entries = append(entries, describe(d, text)) })
	var answer any = entries
	if isLeaf(paths, path) && len(entries) == 1 {
		answer = entries[0]
	} else {
		markDir(w, path)
	}
	body, err := json.MarshalIndent(answer, "", "  ")
	if err != nil {
		panic("admin: entries always marshal: " + err.Error())
	}
	send(w, r, "application/json", append(body, '\n'))
}

func describe(d *attr.Decl, text string) attrsock.Entry {
	e := attrsock.Entry{
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

func (a *attrs) put(w http.ResponseWriter, r *http.Request) {
	path := r.PathValue("path")
	body, ok := readBody(w, r, maxBody, fmt.Sprintf("A value has at most %d bytes.", attr.MaxBytes))
	if !ok {
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

// readBody returns the body, or answers that it is too large or incomplete.
func readBody(w http.ResponseWriter, r *http.Request, most int64, large string) ([]byte, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		httpd.Problem(w, http.StatusRequestEntityTooLarge, "", large)
	case err != nil:
		httpd.Problem(w, http.StatusBadRequest, "Body incomplete", "The request ended before its body did; nothing was set.")
	}
	return body, err == nil
}

func (a *attrs) mkdir(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.PathValue("path"), "/")
	if err := a.tree.Mkdir(path); err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Location", "/attr/"+path)
	w.WriteHeader(http.StatusCreated)
}

func (a *attrs) rmdir(w http.ResponseWriter, r *http.Request) {
	if err := a.tree.Rmdir(strings.TrimSuffix(r.PathValue("path"), "/")); err != nil {
		refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// patch makes a change as a whole, or with the query "check" only says what
// would be wrong with it. Of several errors the first names the problem.
func (a *attrs) patch(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r, maxChange, fmt.Sprintf("A change has at most %d bytes.", maxChange))
	if !ok {
		return
	}
	var change attr.Change
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&change); err != nil {
		httpd.Problem(w, http.StatusBadRequest, "Not a change", `Send JSON such as {"rmdir": ["streams/a"], "mkdir": ["streams/b"], "set": {"streams/b/title": "B"}}: `+err.Error()+".")
		return
	}
	try := a.tree.Apply
	if r.URL.Query().Has("check") {
		try = a.tree.Check
	}
	if errs := try(change); errs != nil {
		refuse(w, errs...)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// putIf sets the value if the old one, as sent by get, still has one of the tags
// in match (RFC 9110 section 13.1.1).
func (a *attrs) putIf(w http.ResponseWriter, path, match, text string) {
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
	attr.EISDIR: http.StatusBadRequest,
	attr.EEXIST: http.StatusConflict,
	attr.EPERM:  http.StatusForbidden,
	attr.ENOSPC: http.StatusInsufficientStorage,
}

// refuse answers with a tree's errors, one a line; the first one's code is the
// problem's title.
func refuse(w http.ResponseWriter, errs ...error) {
	var wrong *attr.Error
	if !errors.As(errs[0], &wrong) {
		panic("admin: a tree's error is an *attr.Error: " + errs[0].Error())
	}
	httpd.Problem(w, statuses[wrong.Code], string(wrong.Code), errors.Join(errs...).Error())
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

// accepts reports whether a type was asked for by name. "*/*" gets text, as one
// types it into a shell.
func accepts(r *http.Request, wanted string) bool {
	for _, accept := range r.Header.Values("Accept") {
		for part := range strings.SplitSeq(accept, ",") {
			if media, _, err := mime.ParseMediaType(part); err == nil && media == wanted {
				return true
			}
		}
	}
	return false
}
