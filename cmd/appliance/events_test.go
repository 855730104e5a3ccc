package main

import (
	"go/ast"
	"go/types"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/controlplane/events"
)

// docs/events.md lists the events that the code logs, with their levels: no more,
// no less. What somebody greps for may not change by chance.
func TestEventsAreListed(t *testing.T) {
	logged := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test || below("perf", f.pkg) {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if event := eventOf(call); event != "" {
					logged[event] = true
				}
			}
			return true
		})
	}
	text, err := os.ReadFile(moduleRoot + "/docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (\\w+) \\|").FindAllStringSubmatch(string(text), -1) {
		listed[m[1]+" "+m[2]] = true
	}
	for _, event := range slices.Sorted(maps.Keys(logged)) {
		if !listed[event] {
			t.Errorf("docs/events.md does not list %s", event)
		}
	}
	for _, event := range slices.Sorted(maps.Keys(listed)) {
		if !logged[event] {
			t.Errorf("docs/events.md lists %s, which nothing logs", event)
		}
	}
	if len(logged) < 10 {
		t.Errorf("%d events: is that how this code logs?", len(logged))
	}
}

// eventOf returns the event and level that a call logs, "" if it logs none.
func eventOf(call *ast.CallExpr) string {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 || !slices.Contains([]string{"Debug", "Info", "Warn", "Error"}, method.Sel.Name) {
		return ""
	}
	if to := strings.ToLower(types.ExprString(method.X)); to != "log" && !strings.HasSuffix(to, ".log") {
		return ""
	}
	event := events.Name(literal(call.Args[0]))
	for i := 1; i+1 < len(call.Args); i += 2 {
		if literal(call.Args[i]) == "event" {
			event = literal(call.Args[i+1])
		}
	}
	return event + " " + strings.ToLower(method.Sel.Name)
}

// literal returns the text of a string literal, "" of anything else.
func literal(e ast.Expr) string {
	if b, ok := e.(*ast.BasicLit); ok {
		text, _ := strconv.Unquote(b.Value)
		return text
	}
	return ""
}
