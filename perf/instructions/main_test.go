package main

import (
	"bytes"
	"strings"
	"testing"
)

// Addresses count to the function that they are in, and the most comes first.
func TestSum(t *testing.T) {
	s := symbols{{Name: "a", Value: 100, Size: 10}, {Name: "b", Value: 110, Size: 5}}
	r := s.sum(map[uint64]uint64{99: 1, 100: packets, 109: packets, 110: 4 * packets, 114: 1, 115: 1})
	var out bytes.Buffer
	if err := r.table(&out, 10); err != nil {
		t.Fatal(err)
	}
	if r.Functions[0].Name != "b" || r.Functions[1].Name != "a" || r.Functions[1].PerPacket != 2 || r.Functions[2] != (function{"outside the binary", 2.0 / packets}) {
		t.Errorf("%+v", r)
	}
	if text := out.String(); strings.Index(text, "b") > strings.Index(text, "outside") || !strings.Contains(text, "100.0 %") {
		t.Error(text)
	}
	if _, err := s.find("c"); err == nil {
		t.Error("found what is not there")
	}
	if at, err := s.find("b"); err != nil || at != 110 {
		t.Errorf("found %d, %v", at, err)
	}
}
