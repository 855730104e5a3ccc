package scenario

import (
	"fmt"
	"strconv"
	"strings"
)

// AdHoc combines numbers of viewers, "burst" and "paced", and numbers of full viewers or "all", each separated by commas, to
// loopback scenarios with the servers named.
func AdHoc(viewers, paces, fulls string, servers []string) (list []Scenario, err error) {
	for _, full := range strings.Split(fulls, ",") {
		for _, pace := range strings.Split(paces, ",") {
			for _, n := range strings.Split(viewers, ",") {
				s, err := adHoc(n, pace, full)
				if err != nil {
					return nil, err
				}
				s.Arms = arms(s, servers)
				list = append(list, s)
			}
		}
	}
	return list, nil
}

// arms are the servers with the arguments that the load asks for.
func arms(s Scenario, servers []string) (list []Arm) {
	for _, name := range servers {
		short, _, _ := strings.Cut(name, "=")
		a := Arm{Name: short, Server: name}
		for _, y := range yardsticks(s.Plan.Media) {
			if y.Name == name {
				a = y
			}
		}
		list = append(list, a)
	}
	return list
}

// adHoc is one combination. Where all viewers are full, each of their packets wakes the generator, in the server's time: the latency
// of such a run speaks for all viewers, and its CPU figure is too high.
func adHoc(viewers, pace, full string) (s Scenario, err error) {
	n, err := strconv.Atoi(viewers)
	if err != nil || n < 1 {
		return s, fmt.Errorf("-n %q: want numbers of viewers from 1", viewers)
	}
	s = Scenario{Name: fmt.Sprintf("n%d-%s-full-%s", n, pace, full), Setup: Loopback, Plan: plan(video, n)}
	switch pace {
	case "paced":
		s.Plan = plan(paced(video), n)
	case "burst":
	default:
		return s, fmt.Errorf("-load %q: want burst or paced", pace)
	}
	s.Plan.Full = n
	if full == "all" {
		return s, nil
	}
	k, err := strconv.Atoi(full)
	if err != nil || k < 1 {
		return s, fmt.Errorf("-full %q: want numbers from 1, or all", full)
	}
	s.Plan.Full = min(k, n)
	return s, nil
}
