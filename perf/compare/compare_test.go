package main

import (
	"errors"
	"testing"
	"time"

	"sluice/perf/scenario"
)

func TestSearch(t *testing.T) {
	for limit, atMost := range map[int]int{0: 20, 99: 15, 100: 115, 777: 777 / 7, 5000: 5000 / 7} {
		tried := 0
		most, failed, err := search(func(n int) (bool, error) {
			tried++
			return n <= limit, nil
		})
		if err != nil || most > limit || failed <= limit || failed-most > atMost || tried > 12 {
			t.Errorf("limit %d: %d viewers, %d too many, %d runs, %v", limit, most, failed, tried, err)
		}
	}
	if most, failed, _ := search(func(int) (bool, error) { return true, nil }); most < mostViewers/2 || failed != 0 {
		t.Errorf("without a limit: %d viewers, %d too many", most, failed)
	}
	stop := errors.New("stop")
	if _, _, err := search(func(int) (bool, error) { return false, stop }); !errors.Is(err, stop) {
		t.Errorf("error is %v", err)
	}
}

func TestClock(t *testing.T) {
	list, err := scenario.Select("tx-10,largest")
	if err != nil {
		t.Fatal(err)
	}
	o := options{scenarios: list, runs: 2, window: time.Second}
	c := newClock(o)
	arms := time.Duration(len(list[0].Arms))
	if want := 2*arms*o.guess(list[0]) + time.Duration(o.runsOf(list[1]))*o.guess(list[1]); c.remaining() != want {
		t.Fatalf("%v to go, want %v", c.remaining(), want)
	}
	before := c.remaining()
	guess := o.guess(list[0])
	c.done(guess, 2*guess)
	if got := c.remaining(); got != 2*(before-guess) {
		t.Fatalf("runs take twice as long as guessed, %v to go, want %v", got, 2*(before-guess))
	}
}
