package dataplane

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// hotMark stands in the doc comment of every function that runs per packet.
const hotMark = "//hot:path"

// TestHotPath keeps the functions marked //hot:path free of what a packet must
// not cost: the compiler's escape analysis says what they allocate, their
// syntax says what they lock, log, format and wait for.
func TestHotPath(t *testing.T) {
	pkgs := loadPackages(t)
	var hot []hotFunc
	for _, p := range pkgs {
		hot = append(hot, markedIn(t, p)...)
	}
	// Were the mark renamed, the rest of this test would hold of nothing.
	if len(hot) < 50 {
		t.Fatalf("%d functions are marked %s: has the mark changed?", len(hot), hotMark)
	}
	for _, f := range hot {
		for _, fault := range f.faults() {
			t.Error(fault)
		}
	}
	for _, e := range escapes(t) {
		i := slices.IndexFunc(hot, func(f hotFunc) bool { return f.holds(e) })
		if i >= 0 && !e.isAppend() {
			t.Errorf("%s:%d: in %s: %s", e.file, e.line, hot[i].decl.Name.Name, e.what)
		}
	}
}

// hotPackage is a type-checked package below dataplane/.
type hotPackage struct {
	fset  *token.FileSet
	files []*ast.File
	info  *types.Info
}

// loadPackages type-checks this package and those below it, their imports from
// the compiler's export data.
func loadPackages(t *testing.T) []*hotPackage {
	t.Helper()
	type listed struct {
		ImportPath, Dir, Export string
		GoFiles                 []string
		DepOnly                 bool
	}
	out := goTool(t, "list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles,DepOnly", "./...")
	exports := map[string]string{}
	var own []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if !p.DepOnly {
			own = append(own, p)
		}
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	var pkgs []*hotPackage
	for _, l := range own {
		p := &hotPackage{fset: fset, info: &types.Info{
			Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{},
		}}
		for _, name := range l.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(l.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			p.files = append(p.files, f)
		}
		config := types.Config{Importer: imports}
		if _, err := config.Check(l.ImportPath, fset, p.files, p.info); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

func goTool(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// markedIn returns the marked functions of a package. A mark that is not in a
// function's doc comment marks nothing, and is an error.
func markedIn(t *testing.T, p *hotPackage) []hotFunc {
	var hot []hotFunc
	for _, file := range p.files {
		marks := map[token.Pos]bool{}
		for _, group := range file.Comments {
			for _, c := range group.List {
				if c.Text == hotMark {
					marks[c.Pos()] = true
				}
			}
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Doc == nil {
				continue
			}
			for _, c := range f.Doc.List {
				if marks[c.Pos()] {
					delete(marks, c.Pos())
					hot = append(hot, hotFunc{p, f})
				}
			}
		}
		for pos := range marks {
			t.Errorf("%s: %s belongs to no function", p.fset.Position(pos), hotMark)
		}
	}
	return hot
}

// hotFunc is a marked function.
type hotFunc struct {
	*hotPackage
	decl *ast.FuncDecl
}

// faults says what stands in the function's body that may not.
func (f *hotFunc) faults() []string {
	var faults []string
	var path []ast.Node
	ast.Inspect(f.decl.Body, func(n ast.Node) bool {
		if n == nil {
			path = path[:len(path)-1]
			return true
		}
		if what := f.fault(n, path); what != "" {
			faults = append(faults, fmt.Sprintf("%s: in %s: %s", f.fset.Position(n.Pos()), f.decl.Name.Name, what))
		}
		path = append(path, n)
		return true
	})
	return faults
}

// fault says what is wrong with one node below the given path, "" for nothing.
func (f *hotFunc) fault(n ast.Node, path []ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a goroutine is started"
	case *ast.SelectStmt, *ast.SendStmt:
		return "a channel is used"
	case *ast.UnaryExpr:
		if n.Op == token.ARROW {
			return "a channel is used"
		}
	case *ast.RangeStmt:
		if is[*types.Chan](f, n.X) {
			return "a channel is used"
		}
		if is[*types.Map](f, n.X) {
			return "a map is walked: its order differs from run to run"
		}
	case *ast.DeferStmt:
		if slices.ContainsFunc(path, isLoop) {
			return "defer in a loop is kept on the heap"
		}
	case *ast.AssignStmt:
		if slices.ContainsFunc(n.Lhs, f.isMapElement) {
			return "a map is written"
		}
	case *ast.IncDecStmt:
		if f.isMapElement(n.X) {
			return "a map is written"
		}
	case *ast.Ident:
		return f.faultOfUse(f.info.Uses[n])
	case *ast.CallExpr:
		if f.isStringOfBytes(n) && !f.staysOnStack(n, path[len(path)-1]) {
			return "string(bytes) copies"
		}
		if len(n.Args) > 0 && f.isBuiltin(n.Fun, "append") && !f.isReusedAppend(n, path[len(path)-1]) {
			return "append to what is made anew for each packet"
		}
		if len(n.Args) > 0 && f.isBuiltin(n.Fun, "clear") && is[*types.Map](f, n.Args[0]) {
			return "a map is written"
		}
	}
	return ""
}

// faultOfUse says what is wrong with naming an object.
func (f *hotFunc) faultOfUse(o types.Object) string {
	switch o := o.(type) {
	case *types.Builtin:
		switch o.Name() {
		case "make":
			return "memory is made"
		case "delete":
			return "a map is written"
		case "close":
			return "a channel is used"
		}
	case *types.PkgName:
		switch path := o.Imported().Path(); path {
		case "fmt", "log", "log/slog", "errors", "os", "sync", "reflect":
			return path + " is used"
		}
	case *types.Func:
		if o.Pkg() == nil {
			break
		}
		switch o.FullName() {
		case "time.Now", "time.Since", "time.Until":
			return "a clock is read: time is an argument"
		}
		if o.Pkg().Path() == "sync" {
			return "sync is used: nothing here is shared"
		}
	}
	return ""
}

func isLoop(n ast.Node) bool {
	switch n.(type) {
	case *ast.ForStmt, *ast.RangeStmt:
		return true
	}
	return false
}

// is reports whether the type of an expression is a T underneath.
func is[T types.Type](f *hotFunc, e ast.Expr) bool {
	t := f.info.Types[e].Type
	if t == nil {
		return false
	}
	_, ok := t.Underlying().(T)
	return ok
}

func (f *hotFunc) isMapElement(e ast.Expr) bool {
	index, ok := ast.Unparen(e).(*ast.IndexExpr)
	return ok && is[*types.Map](f, index.X)
}

func (f *hotFunc) isBuiltin(e ast.Expr, name string) bool {
	id, ok := ast.Unparen(e).(*ast.Ident)
	if !ok {
		return false
	}
	b, ok := f.info.Uses[id].(*types.Builtin)
	return ok && b.Name() == name
}

func (f *hotFunc) isStringOfBytes(c *ast.CallExpr) bool {
	to := f.info.Types[c.Fun]
	if !to.IsType() || len(c.Args) != 1 {
		return false
	}
	b, ok := to.Type.Underlying().(*types.Basic)
	return ok && b.Kind() == types.String && is[*types.Slice](f, c.Args[0])
}

// staysOnStack reports whether the compiler needs no copy for a string(bytes):
// it is looked up in a map, or compared.
func (f *hotFunc) staysOnStack(c *ast.CallExpr, parent ast.Node) bool {
	switch p := parent.(type) {
	case *ast.IndexExpr:
		return p.Index == c && is[*types.Map](f, p.X)
	case *ast.BinaryExpr:
		return p.Op.Precedence() == token.EQL.Precedence()
	}
	return false
}

// isReusedAppend reports whether an append extends memory that outlives the
// packet. The compiler calls every append an escape, since it may grow. Such
// growth is paid once, not per packet, where the slice is a parameter (scratch
// of the caller, who keeps the result) or a field that is assigned back (a
// queue that is emptied to [:0]): after the largest burst none grows again,
// which the tests that count allocations show. Elsewhere append allocates.
func (f *hotFunc) isReusedAppend(c *ast.CallExpr, parent ast.Node) bool {
	dst := ast.Unparen(c.Args[0])
	if id, ok := dst.(*ast.Ident); ok {
		return f.isParameter(id)
	}
	assign, ok := parent.(*ast.AssignStmt)
	if _, field := dst.(*ast.SelectorExpr); !ok || !field || len(assign.Lhs) != 1 {
		return false
	}
	return types.ExprString(assign.Lhs[0]) == types.ExprString(dst)
}

func (f *hotFunc) isParameter(id *ast.Ident) bool {
	o := f.info.Uses[id]
	params := f.decl.Type.Params
	return o != nil && params.Pos() <= o.Pos() && o.Pos() < params.End()
}

// escape is one finding of the compiler's escape analysis.
type escape struct {
	file string
	line int
	what string
}

var escapeLine = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):\d+: (.*escapes to heap|moved to heap.*)$`)

// escapes asks the compiler what it puts on the heap in the packages below.
func escapes(t *testing.T) []escape {
	t.Helper()
	cmd := exec.Command("go", "build", "-gcflags=-m", "./...")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var all []escape
	for _, m := range escapeLine.FindAllSubmatch(out, -1) {
		file, err := filepath.Abs(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		line, err := strconv.Atoi(string(m[2]))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, escape{file, line, string(m[3])})
	}
	// The data plane's constructors allocate; a compiler that reports nothing
	// has changed its words.
	if len(all) == 0 {
		t.Fatalf("go build -gcflags=-m reports nothing on the heap:\n%s", out)
	}
	return all
}

func (e escape) isAppend() bool { return e.what == "append escapes to heap" }

func (f *hotFunc) holds(e escape) bool {
	from, to := f.fset.Position(f.decl.Pos()), f.fset.Position(f.decl.End())
	return e.file == from.Filename && from.Line <= e.line && e.line <= to.Line
}
