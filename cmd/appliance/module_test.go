package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// moduleRoot is where go.mod is, seen from this package.
const moduleRoot = "../.."

// goFile is one parsed Go file of the module.
type goFile struct {
	name    string // relative to the module's root
	pkg     string // its folder, which is the import path without "sluice/"
	test    bool
	source  []byte
	syntax  *ast.File
	imports []string
}

var fileSet = token.NewFileSet()

// goFiles parses every Go file of the module. It walks the folders itself, for
// two reasons: files that another platform's build would leave out count too,
// and "go test" sees what was read, so it never repeats an outdated result.
func goFiles(t *testing.T) []*goFile {
	t.Helper()
	var files []*goFile
	err := filepath.WalkDir(moduleRoot, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != moduleRoot && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") || base == "testdata") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parseFile(name)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parseFile(name string) (*goFile, error) {
	source, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	syntax, err := parser.ParseFile(fileSet, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(moduleRoot, name)
	if err != nil {
		return nil, err
	}
	f := &goFile{name: rel, pkg: path.Dir(rel), test: strings.HasSuffix(rel, "_test.go"), source: source, syntax: syntax}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, err
		}
		f.imports = append(f.imports, imported)
	}
	return f, nil
}

// packagesOf returns the folders of files, sorted.
func packagesOf(files []*goFile) []string {
	var pkgs []string
	for _, f := range files {
		pkgs = append(pkgs, f.pkg)
	}
	slices.Sort(pkgs)
	return slices.Compact(pkgs)
}

// below reports whether a path is dir or below it.
func below(dir, path string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}
