package main

import (
	"os"
	"regexp"
	"testing"
)

// A row of docs/attacks.md claims something of its tests: they must be there.
func TestAttacksAreTested(t *testing.T) {
	text, err := os.ReadFile("../../docs/attacks.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	definition := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, f := range goFiles(t) {
		for _, match := range definition.FindAllSubmatch(f.source, -1) {
			there[string(match[1])] = f.test
		}
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*`).FindAllString(string(text), -1)
	if len(named) == 0 {
		t.Fatal("docs/attacks.md names no test")
	}
	for _, name := range named {
		if !there[name] {
			t.Errorf("docs/attacks.md names %s, which does not exist", name)
		}
	}
}
