// Package attrsock is the unix socket of a running appliance's attribute tree:
// where it is, and how to speak to it. What is spoken is the admin HTTP, so that
// one validator stands behind all faces.
package attrsock

// Entry is an attribute or metric as the tree shows it in JSON.
type Entry struct {
	Path      string   `json:"path"`
	Value     *string  `json:"value"` // nil for what is write-only
	Kind      string   `json:"kind"`
	Unit      string   `json:"unit,omitempty"`
	Mode      string   `json:"mode"`           // permission bits, octal
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

// Event is a change of the tree, as JSON in the data of a server-sent event.
type Event struct {
	Name  string `json:"event"` // "set", "mkdir" or "rmdir", and the name of the server-sent event
	Path  string `json:"path"`
	Value string `json:"value"` // of a set; "" of what is write-only
}
