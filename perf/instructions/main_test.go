package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// Addresses count to the function that they are in, and the most comes first; what happens while the path has yielded does not count.
func TestSum(t *testing.T) {
	s := symbols{{Name: "a", Value: 100, Size: 10}, {Name: "b", Value: 110, Size: 5}, {Name: "runtime.morestack.abi0", Value: 200, Size: 10}, {Name: "runtime.schedule", Value: 210, Size: 10}}
	r := s.sum([]uint64{99, 100, 109, 200, 210, 211, 110, 100, 110, 114, 110, 115, 112})
	want := []function{{"b", 4.0 / packets}, {"a", 3.0 / packets}, {"outside the binary", 2.0 / packets}}
	if !slices.Equal(r.Functions, want) || r.PerPacket != 9.0/packets {
		t.Errorf("%+v, want %+v", r, want)
	}
	var out bytes.Buffer
	if err := r.table(&out, 2); err != nil || !strings.Contains(out.String(), "100.0 %  all") || strings.Contains(out.String(), "outside") {
		t.Errorf("%v\n%s", err, &out)
	}
	if _, err := s.find("c"); err == nil {
		t.Error("found what is not there")
	}
	if at, err := s.find("b"); err != nil || at != 110 {
		t.Errorf("found %d, %v", at, err)
	}
}
