package vendortest_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	root     = "../../../../"
	docPath  = "docs/add-a-vendor.md"
	packages = "services/hive/catalog/"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	codeBlock = regexp.MustCompile("(?s)From `([^`]+)`[^`]*?```go\n(.*?)\n```")
	inline    = regexp.MustCompile("`([^`\n]+)`")
	link      = regexp.MustCompile(`\]\(([^)]+)\)`)
	name      = regexp.MustCompile(`\b(vendor|vendortest|messages)\.([A-Z]\w*)`)
)

// TestDocIsTrue holds docs/add-a-vendor.md to the source: its blocks stand there word for word, and what
// it names exists.
func TestDocIsTrue(t *testing.T) {
	doc := read(t, docPath)
	blocks := codeBlock.FindAllStringSubmatch(doc, -1)
	if n := strings.Count(doc, "```go"); n != len(blocks) || n < 2 {
		t.Errorf("%d blocks of Go, %d say where they are from", n, len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(read(t, b[1]), b[2]+"\n") {
			t.Errorf("this does not stand in %s:\n%s", b[1], b[2])
		}
	}
	if len(blocks) > 0 && blocks[0][2] != vendorInterface(t) {
		t.Error("the first block is not the whole interface")
	}
	for _, m := range link.FindAllStringSubmatch(doc, -1) {
		read(t, filepath.Join("docs", m[1]))
	}
	for _, m := range inline.FindAllStringSubmatch(doc, -1) {
		if s := m[1]; strings.Contains(s, "/") && !strings.ContainsAny(s, ": ") {
			if _, err := os.Stat(filepath.Join(root, s)); err != nil {
				t.Error(err)
			}
		}
	}
	if !strings.Contains(read(t, packages+"vendors.go"), "func Vendors() ") {
		t.Error("there is no func Vendors in vendors.go")
	}
}

// TestDocNamesWhatExists has every exported name of the doc be one.
func TestDocNamesWhatExists(t *testing.T) {
	exported := map[string]map[string]bool{
		"vendor":     exports(t, packages+"vendor"),
		"vendortest": exports(t, packages+"vendortest"),
		"messages":   exports(t, "messages"),
	}
	found := name.FindAllStringSubmatch(read(t, docPath), -1)
	if len(found) < 10 {
		t.Errorf("only %d names", len(found))
	}
	for _, m := range found {
		if !exported[m[1]][m[2]] {
			t.Errorf("there is no %s", m[0])
		}
	}
}

// TestAVendorIsSmall holds the doc's promise.
func TestAVendorIsSmall(t *testing.T) {
	if n := strings.Count(read(t, packages+"vendortest/webdav_test.go"), "\n"); n >= 100 {
		t.Errorf("webdav_test.go has %d lines", n)
	}
}

// vendorInterface is the source text of vendor.Vendor.
func vendorInterface(t *testing.T) string {
	t.Helper()
	src := read(t, packages+"vendor/vendor.go")
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "vendor.go", src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE || g.Specs[0].(*ast.TypeSpec).Name.Name != "Vendor" {
			continue
		}
		return src[fset.Position(g.Pos()).Offset:fset.Position(g.End()).Offset]
	}
	t.Fatal("no type Vendor in vendor.go")
	return ""
}

// exports is the exported names of a package's top level.
func exports(t *testing.T, dir string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: %d files, %v", dir, len(paths), err)
	}
	out := map[string]bool{}
	for _, p := range paths {
		if strings.HasSuffix(p, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			addNames(out, d)
		}
	}
	return out
}

func addNames(out map[string]bool, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			out[d.Name.Name] = true
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				out[s.Name.Name] = true
			case *ast.ValueSpec:
				for _, n := range s.Names {
					out[n.Name] = true
				}
			}
		}
	}
}
