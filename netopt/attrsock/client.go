package attrsock

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"sluice/netopt/attr"
)

// ErrDown is that no socket answers.
var ErrDown = errors.New("no appliance answers here (sluice run starts one)")

// Client speaks to the tree of a running appliance. Its methods may be called
// from any goroutine, wait until ctx is done, and return an *attr.Error for what
// the tree refuses and other errors for what keeps them from asking it.
type Client struct {
	transport transport
}

// New returns a client of the first socket among paths that answers; each
// connection looks anew, so that it finds a server that started again.
func New(paths ...string) *Client { return &Client{transport: transport{paths: paths}} }

// Close closes what connections are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Get returns the value at path without the newline at its end.
func (c *Client) Get(ctx context.Context, path string) (string, error) {
	body, isDir, err := c.text(ctx, path)
	if isDir {
		return "", &attr.Error{Code: attr.EISDIR, Path: path, Reason: "is a directory"}
	}
	return strings.TrimSuffix(body, "\n"), err
}

// List returns the sorted paths at and below path, all of them for "".
func (c *Client) List(ctx context.Context, path string) ([]string, error) {
	body, isDir, err := c.text(ctx, path)
	switch {
	case err != nil:
		return nil, err
	case !isDir:
		return []string{path}, nil
	}
	return strings.Fields(body), nil
}

func (c *Client) text(ctx context.Context, path string) (body string, isDir bool, err error) {
	resp, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), strings.HasSuffix(resp.Header.Get("Content-Location"), "/"), err
}

// Entries returns all there is to know of what is at and below path.
func (c *Client) Entries(ctx context.Context, path string) ([]Entry, error) {
	resp, err := c.do(ctx, http.MethodGet, path, "application/json", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if strings.HasSuffix(resp.Header.Get("Content-Location"), "/") {
		var entries []Entry
		return entries, json.NewDecoder(resp.Body).Decode(&entries)
	}
	entries := make([]Entry, 1)
	return entries, json.NewDecoder(resp.Body).Decode(&entries[0])
}

// Set writes to the attribute at path.
func (c *Client) Set(ctx context.Context, path, text string) error {
	return c.write(ctx, http.MethodPut, path, []byte(text))
}

// Mkdir makes the object at path.
func (c *Client) Mkdir(ctx context.Context, path string) error {
	return c.write(ctx, http.MethodPost, path, nil)
}

// Rmdir removes the object at path.
func (c *Client) Rmdir(ctx context.Context, path string) error {
	return c.write(ctx, http.MethodDelete, path, nil)
}

// Apply makes a change as a whole. Of several errors the first one gives the
// code, and all of them the reason.
func (c *Client) Apply(ctx context.Context, change attr.Change) error {
	return c.patch(ctx, "", change)
}

// Check says what would be wrong with a change.
func (c *Client) Check(ctx context.Context, change attr.Change) error {
	return c.patch(ctx, "?check", change)
}

func (c *Client) patch(ctx context.Context, query string, change attr.Change) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	resp, err := c.send(ctx, http.MethodPatch, "", query, "", body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (c *Client) write(ctx context.Context, method, path string, body []byte) error {
	resp, err := c.do(ctx, method, path, "", body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// Watch calls ready once no change at or below path is missed from then on, and
// f for each change, until ctx is done or the server ends it.
func (c *Client) Watch(ctx context.Context, path string, ready func(), f func(Event)) error {
	resp, err := c.do(ctx, http.MethodGet, path, "text/event-stream", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 64<<10)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case ready != nil:
			ready()
			ready = nil
		case isData:
			var e Event
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				return err
			}
			f(e)
		}
	}
	return cmp.Or(ctx.Err(), lines.Err(), io.ErrUnexpectedEOF)
}

func (c *Client) do(ctx context.Context, method, path, accept string, body []byte) (*http.Response, error) {
	return c.send(ctx, method, path, "", accept, body)
}

// send returns a response that is no refusal; its body is the caller's to close.
func (c *Client) send(ctx context.Context, method, path, query, accept string, body []byte) (*http.Response, error) {
	// Dots are escaped too, or net/http would take ".." for the way up.
	target := "http://sluice/attr/" + strings.ReplaceAll(url.PathEscape(path), ".", "%2E") + query
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, refusal(resp, path)
}

// refusal reads a problem document.
func refusal(resp *http.Response, path string) error {
	var problem struct{ Title, Detail string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&problem); err != nil {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	if resp.StatusCode == http.StatusRequestEntityTooLarge {
		return &attr.Error{Code: attr.EINVAL, Path: path, Reason: problem.Detail}
	}
	if attr.Code(problem.Title).Errno() == 0 {
		return errors.New(problem.Detail)
	}
	at, reason, _ := strings.Cut(problem.Detail, ": ")
	return &attr.Error{Code: attr.Code(problem.Title), Path: at, Reason: reason}
}
