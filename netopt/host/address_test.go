package host

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/netopt/attr"
)

// nic makes an interface that is up; an address with a trailing ! is passing.
func nic(name string, addrs ...string) networkInterface {
	i := networkInterface{name: name, up: true, loopback: name == "lo"}
	for _, s := range addrs {
		s, passing := strings.CutSuffix(s, "!")
		i.addresses = append(i.addresses, address{netip.MustParseAddr(s), passing})
	}
	return i
}

func down(i networkInterface) networkInterface { i.up = false; return i }

func addresses(list string) (all []netip.Addr) {
	for _, s := range strings.Fields(list) {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

var (
	lo     = nic("lo", "127.0.0.1", "::1")
	eth    = nic("eth0", "192.168.1.5", "fe80::1%eth0", "2001:db8::5", "2001:db8::bad!", "fd00::5")
	wlan   = nic("wlan0", "10.1.1.6", "169.254.3.4")
	docker = nic("docker0", "172.17.0.1")
	host   = []networkInterface{lo, eth, wlan, docker}
)

func TestChoose(t *testing.T) {
	const ethAll = "192.168.1.5 2001:db8::5 fd00::5"
	for name, tc := range map[string]struct {
		found       []networkInterface
		listen      string
		allow, deny string
		announce    string
		want        string // addresses, or "error: " and a part of one
	}{
		"everything":                        {found: host, want: ethAll + " 10.1.1.6"},
		"IPv6 wildcard takes both families": {found: host, listen: "::", want: ethAll + " 10.1.1.6"},
		"IPv4 wildcard takes IPv4":          {found: host, listen: "0.0.0.0", want: "192.168.1.5 10.1.1.6"},
		"one address":                       {found: host, listen: "10.1.1.6", want: "10.1.1.6"},
		"one mapped address":                {found: host, listen: "::ffff:10.1.1.6", want: "10.1.1.6"},
		"one address of a bridge":           {found: host, listen: "172.17.0.1", want: "172.17.0.1"},
		"one address denied":                {found: host, listen: "10.1.1.6", deny: "wlan0", want: "10.1.1.6"},
		"loopback":                          {found: host, listen: "127.0.0.1", want: "127.0.0.1"},
		"loopback IPv6":                     {found: host, listen: "::1", want: "::1"},
		"link-local loses its zone":         {found: host, listen: "fe80::1%eth0", want: "fe80::1"},

		"announced first":                {found: host, announce: "203.0.113.7 2001:db8:7::7", want: "203.0.113.7 2001:db8:7::7 " + ethAll + " 10.1.1.6"},
		"announced with one address":     {found: host, announce: "203.0.113.7", listen: "10.1.1.6", want: "203.0.113.7 10.1.1.6"},
		"announced is there too":         {found: host, announce: "10.1.1.6", want: "10.1.1.6 " + ethAll},
		"announced mapped is there too":  {found: host, announce: "::ffff:10.1.1.6", want: "10.1.1.6 " + ethAll},
		"announced and nothing else":     {found: []networkInterface{lo}, announce: "203.0.113.7", want: "203.0.113.7"},
		"announced and nothing allowed":  {found: host, allow: "eth7", announce: "203.0.113.7", want: "203.0.113.7"},
		"announced loopback":             {found: host, announce: "127.0.0.1", listen: "10.1.1.6", want: "127.0.0.1 10.1.1.6"},
		"announced wildcard is refused":  {found: host, announce: "0.0.0.0", want: `error: ice/announce: "0.0.0.0" is no address`},
		"announced multicast is refused": {found: host, announce: "ff02::1", want: `error: ice/announce: "ff02::1" is no address`},
		"announced broadcast is refused": {found: host, announce: "255.255.255.255", want: "error: ice/announce"},
		"announced zone is refused":      {found: host, announce: "fe80::1%eth0", want: "error: ice/announce"},

		"down":                           {found: []networkInterface{lo, down(eth), wlan}, want: "10.1.1.6"},
		"denied":                         {found: host, deny: "eth*", want: "10.1.1.6"},
		"denied and still no bridge":     {found: host, deny: "wlan0", want: ethAll},
		"allowed":                        {found: host, allow: "wlan0", want: "10.1.1.6"},
		"allowed bridge":                 {found: host, allow: "docker0 wlan?", want: "10.1.1.6 172.17.0.1"},
		"allowed loopback":               {found: host, allow: "lo", want: "127.0.0.1 ::1"},
		"allowed goes before denied":     {found: host, allow: "wlan0", deny: "*", want: "10.1.1.6"},
		"allowed matches nothing":        {found: host, allow: "eth7 ppp*", want: "error: ice/interfaces_allow: no interface that is up, has an address and matches eth7 ppp*; the interfaces are lo eth0 wlan0 docker0"},
		"allowed is down":                {found: []networkInterface{lo, down(eth)}, allow: "eth0", want: "error: ice/interfaces_allow"},
		"allowed pattern malformed":      {found: host, allow: "eth[", want: `error: ice/interfaces_allow: "eth[" is not a pattern`},
		"denied pattern malformed":       {found: host, deny: "[", want: "error: ice/interfaces_deny"},
		"malformed pattern, one address": {found: host, listen: "10.1.1.6", deny: "[", want: "error: ice/interfaces_deny"},

		"alone":                       {found: []networkInterface{lo}, want: "127.0.0.1 ::1"},
		"alone with a bridge":         {found: []networkInterface{lo, docker}, want: "127.0.0.1 ::1"},
		"alone with link-local":       {found: []networkInterface{lo, nic("eth0", "fe80::2%eth0")}, want: "127.0.0.1 ::1"},
		"alone, IPv4":                 {found: []networkInterface{lo}, listen: "0.0.0.0", want: "127.0.0.1"},
		"all denied":                  {found: host, deny: "*", want: "127.0.0.1 ::1"},
		"a real address on loopback":  {found: []networkInterface{nic("lo", "127.0.0.1", "192.0.2.1")}, want: "127.0.0.1"},
		"loopback is down":            {found: []networkInterface{down(lo)}, want: "error: no address to announce: set ice/announce; the interfaces are lo"},
		"no interface":                {want: "error: no address to announce: set ice/announce; the interfaces are none"},
		"one address on two":          {found: []networkInterface{eth, nic("eth1", "192.168.1.5")}, want: ethAll},
		"multicast and unspecified":   {found: []networkInterface{lo, nic("eth0", "224.0.0.1", "0.0.0.0", "ff02::1", "10.0.0.1")}, want: "10.0.0.1"},
		"all containers and machines": {found: []networkInterface{lo, nic("br-1f2e", "172.18.0.1"), nic("veth12ab", "10.0.0.1"), nic("virbr0", "10.0.0.2"), nic("cni0", "10.0.0.3"), nic("flannel.1", "10.0.0.4"), nic("lxcbr0", "10.0.0.5"), nic("cali1234", "10.0.0.6"), nic("br0", "10.0.0.7")}, want: "10.0.0.7"},
	} {
		t.Run(name, func(t *testing.T) {
			w := wish{allow: strings.Fields(tc.allow), deny: strings.Fields(tc.deny), announce: addresses(tc.announce)}
			if tc.listen != "" {
				w.listen = netip.MustParseAddr(tc.listen)
			}
			got, err := choose(tc.found, w)
			if want, failing := strings.CutPrefix(tc.want, "error: "); failing {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v and error %v, want %q", got, err, want)
				}
				return
			}
			if err != nil || !slices.Equal(got, addresses(tc.want)) {
				t.Errorf("got %v (%v), want %s", got, err, tc.want)
			}
		})
	}
}

func TestChooseStopsAtTheLimit(t *testing.T) {
	many := nic("eth0")
	for i := range 20 {
		many.addresses = append(many.addresses, address{Addr: netip.MustParseAddr(fmt.Sprintf("10.0.0.%d", i+1))})
	}
	got, err := choose([]networkInterface{many}, wish{announce: addresses("203.0.113.7")})
	if err != nil || len(got) != MaxAddresses || got[0] != netip.MustParseAddr("203.0.113.7") || got[15] != netip.MustParseAddr("10.0.0.15") {
		t.Errorf("got %v (%v)", got, err)
	}
}

func TestPassingAddresses(t *testing.T) {
	file := `fd000000000000000000000000000002 04 40 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
20010db8000000000000000000000001 04 40 00 01     eth0
20010db8000000000000000000000002 04 40 00 a0     eth0
20010db8000000000000000000000003 04 40 00 c0     eth0
20010db8000000000000000000000004 04 40 00 88     eth0
20010db8000000000000000000000005 04 40 00 100   eth0
20010db80000000000000000000000 04 40 00 01     eth0
nonsense 04 40 00 01 eth0

20010db8000000000000000000000006 04 40 00 zz eth0
`
	got := passingAddresses([]byte(file))
	want := addresses("2001:db8::1 2001:db8::2 2001:db8::3 2001:db8::4")
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for _, a := range want {
		if !got[a] {
			t.Errorf("%v is not passing", a)
		}
	}
}

func TestAttributes(t *testing.T) {
	tree := attr.NewTree(&Attrs)
	for _, bad := range [][2]string{
		{"ice/announce", "example.org"}, {"ice/announce", "0.0.0.0"}, {"ice/announce", "1.2.3.4:5"},
		{"ice/interfaces_allow", "[eth"}, {"ice/interfaces_deny", "[eth"},
	} {
		if err := tree.Set(bad[0], bad[1]); err == nil {
			t.Errorf("%s takes %q", bad[0], bad[1])
		}
	}
	for path, value := range map[string]string{
		"ice/announce": "203.0.113.7 2001:db8:7::7", "ice/interfaces_allow": "lo", "ice/interfaces_deny": "l*",
	} {
		if err := tree.Set(path, value); err != nil {
			t.Error(err)
		}
	}
	got, err := FromTree(tree, netip.MustParseAddr("127.0.0.2"))
	if want := addresses("203.0.113.7 2001:db8:7::7 127.0.0.2"); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
}
