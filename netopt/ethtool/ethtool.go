// Package ethtool reads and sets what ethtool(8) does, as far as tuning needs it:
// queues, rings, interrupt coalescing and offloads of a network device, over
// generic netlink (Documentation/networking/ethtool-netlink.rst of the kernel).
package ethtool

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrUnsupported says that the device, its driver or this package lacks a setting.
var ErrUnsupported = errors.New("not supported")

// message is one pair of get and set, and the settings in it.
type message struct {
	get, set uint8
	numbers  map[string]uint16 // attributes of 32 bits, by ethtool's word
	switches map[string]uint16 // attributes of 8 bits that are on or off
}

// messages are the settings by ethtool's option. The option -K is not here: its
// settings are a set of bits with names.
var messages = map[string]message{
	"-L": {unix.ETHTOOL_MSG_CHANNELS_GET, unix.ETHTOOL_MSG_CHANNELS_SET, map[string]uint16{
		"combined": unix.ETHTOOL_A_CHANNELS_COMBINED_COUNT, "rx": unix.ETHTOOL_A_CHANNELS_RX_COUNT, "tx": unix.ETHTOOL_A_CHANNELS_TX_COUNT,
		"combined-max": unix.ETHTOOL_A_CHANNELS_COMBINED_MAX,
	}, nil},
	"-G": {unix.ETHTOOL_MSG_RINGS_GET, unix.ETHTOOL_MSG_RINGS_SET, map[string]uint16{
		"rx": unix.ETHTOOL_A_RINGS_RX, "rx-max": unix.ETHTOOL_A_RINGS_RX_MAX,
	}, nil},
	"-C": {unix.ETHTOOL_MSG_COALESCE_GET, unix.ETHTOOL_MSG_COALESCE_SET, map[string]uint16{
		"rx-usecs": unix.ETHTOOL_A_COALESCE_RX_USECS,
	}, map[string]uint16{
		"adaptive-rx": unix.ETHTOOL_A_COALESCE_USE_ADAPTIVE_RX,
	}},
}

// header is the attribute that names the device: number 1 in every message.
const header = 1

// Get returns a setting as ethtool takes it: a number, or on or off. what may
// also be combined-max (-L) and rx-max (-G). The error is ErrUnsupported, or from
// the kernel.
func (c *Conn) Get(option, device, what string) (string, error) {
	if option == "-K" {
		return c.feature(device, what)
	}
	m := messages[option]
	number, isNumber := m.numbers[what]
	flag, isSwitch := m.switches[what]
	if !isNumber && !isSwitch {
		return "", ErrUnsupported
	}
	reply, err := c.ask(m.get, nested(header, text(unix.ETHTOOL_A_HEADER_DEV_NAME, device)), 0)
	if err != nil {
		return "", err
	}
	for a := range attributes(reply) {
		switch {
		case isNumber && a.kind == number && len(a.data) == 4:
			return strconv.FormatUint(uint64(native.Uint32(a.data)), 10), nil
		case isSwitch && a.kind == flag && len(a.data) == 1:
			return onOff(a.data[0] != 0), nil
		}
	}
	return "", ErrUnsupported
}

// Set sets what Get returns. The kernel may take a near value; Get tells.
func (c *Conn) Set(option, device, what, value string) error {
	body := nested(header, text(unix.ETHTOOL_A_HEADER_DEV_NAME, device), number(unix.ETHTOOL_A_HEADER_FLAGS, unix.ETHTOOL_FLAG_OMIT_REPLY))
	m := messages[option]
	set := m.set
	switch kind, ok := m.numbers[what]; {
	case ok:
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return fmt.Errorf("%q is not a number", value)
		}
		body = append(body, number(kind, uint32(n))...)
	case value != "on" && value != "off":
		return fmt.Errorf("%q is neither on nor off", value)
	case option == "-K":
		set = unix.ETHTOOL_MSG_FEATURES_SET
		bit := text(unix.ETHTOOL_A_BITSET_BIT_NAME, what)
		if value == "on" {
			bit = append(bit, attribute(unix.ETHTOOL_A_BITSET_BIT_VALUE, nil)...)
		}
		body = append(body, nested(unix.ETHTOOL_A_FEATURES_WANTED, nested(unix.ETHTOOL_A_BITSET_BITS, nested(unix.ETHTOOL_A_BITSET_BITS_BIT, bit)))...)
	default:
		kind, ok := m.switches[what]
		if !ok {
			return ErrUnsupported
		}
		body = append(body, attribute(kind, []byte{map[string]byte{"on": 1}[value]})...)
	}
	_, err := c.ask(set, body, unix.NLM_F_ACK)
	return err
}

// feature returns whether an offload is active. One that is neither active nor
// can be made so is not supported.
func (c *Conn) feature(device, name string) (string, error) {
	reply, err := c.ask(unix.ETHTOOL_MSG_FEATURES_GET, nested(header, text(unix.ETHTOOL_A_HEADER_DEV_NAME, device)), 0)
	if err != nil {
		return "", err
	}
	var active, possible []string
	for a := range attributes(reply) {
		switch a.kind {
		case unix.ETHTOOL_A_FEATURES_ACTIVE:
			active = bitNames(a.data)
		case unix.ETHTOOL_A_FEATURES_HW:
			possible = bitNames(a.data)
		}
	}
	if on := slices.Contains(active, name); on || slices.Contains(possible, name) {
		return onOff(on), nil
	}
	return "", ErrUnsupported
}

// bitNames returns the names of the bits of a bitset that are set; one with a
// mask marks them, one without holds no others.
func bitNames(bitset []byte) (names []string) {
	noMask := false
	for a := range attributes(bitset) {
		noMask = noMask || a.kind == unix.ETHTOOL_A_BITSET_NOMASK
	}
	for bits := range attributes(bitset) {
		if bits.kind != unix.ETHTOOL_A_BITSET_BITS {
			continue
		}
		for bit := range attributes(bits.data) {
			name, set := "", noMask
			for a := range attributes(bit.data) {
				switch a.kind {
				case unix.ETHTOOL_A_BITSET_BIT_NAME:
					name = unix.ByteSliceToString(a.data)
				case unix.ETHTOOL_A_BITSET_BIT_VALUE:
					set = true
				}
			}
			if set {
				names = append(names, name)
			}
		}
	}
	return names
}

func onOff(on bool) string { return map[bool]string{true: "on", false: "off"}[on] }
