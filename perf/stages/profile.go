package stages

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
)

// sample is a stack, the innermost function first, and its CPU time in ns.
type sample struct {
	stack []string
	value int64
}

// profile is what is needed of message Profile in github.com/google/pprof/proto/profile.proto.
type profile struct {
	samples   []rawSample
	locations map[uint64][]uint64 // function ids, the innermost inlined one first
	functions map[uint64]uint64   // index of the name in strings
	strings   []string
}

type rawSample struct {
	locations []uint64
	values    []uint64
}

var errTruncated = errors.New("profile is cut short")

func parse(zipped []byte) ([]sample, error) {
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		return nil, err
	}
	p := profile{locations: map[uint64][]uint64{}, functions: map[uint64]uint64{}}
	if err := fields(raw, p.field); err != nil {
		return nil, err
	}
	return p.resolve(), nil
}

func (p *profile) resolve() (list []sample) {
	for _, r := range p.samples {
		s := sample{}
		if n := len(r.values); n > 0 {
			s.value = int64(r.values[n-1]) // samples/count, then cpu/nanoseconds
		}
		for _, at := range r.locations {
			for _, f := range p.locations[at] {
				if name := p.functions[f]; name < uint64(len(p.strings)) {
					s.stack = append(s.stack, p.strings[name])
				}
			}
		}
		list = append(list, s)
	}
	return list
}

func (p *profile) field(number uint64, value uint64, data []byte) error {
	switch number {
	case 2:
		var s rawSample
		err := fields(data, s.field)
		p.samples = append(p.samples, s)
		return err
	case 4:
		return p.location(data)
	case 5:
		var id, name uint64
		err := fields(data, func(number, value uint64, _ []byte) error {
			switch number {
			case 1:
				id = value
			case 2:
				name = value
			}
			return nil
		})
		p.functions[id] = name
		return err
	case 6:
		p.strings = append(p.strings, string(data))
	}
	return nil
}

func (s *rawSample) field(number, value uint64, data []byte) (err error) {
	switch number {
	case 1:
		s.locations, err = numbers(s.locations, value, data)
	case 2:
		s.values, err = numbers(s.values, value, data)
	}
	return err
}

func (p *profile) location(data []byte) error {
	var id uint64
	var lines []uint64
	err := fields(data, func(number, value uint64, data []byte) error {
		switch number {
		case 1:
			id = value
		case 4:
			return fields(data, func(number, value uint64, _ []byte) error {
				if number == 1 {
					lines = append(lines, value)
				}
				return nil
			})
		}
		return nil
	})
	p.locations[id] = lines
	return err
}

// numbers appends a repeated number, packed (data) or not.
func numbers(list []uint64, value uint64, data []byte) ([]uint64, error) {
	if data == nil {
		return append(list, value), nil
	}
	for len(data) > 0 {
		v, n := binary.Uvarint(data)
		if n <= 0 {
			return list, errTruncated
		}
		list, data = append(list, v), data[n:]
	}
	return list, nil
}

// fields calls f for each field of a protocol buffers message: with a value for numbers, with data for what has a length.
func fields(b []byte, f func(number, value uint64, data []byte) error) error {
	const varint, fixed64, bytesType, fixed32 = 0, 1, 2, 5
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return errTruncated
		}
		b = b[n:]
		var value uint64
		var data []byte
		size := 0
		switch tag & 7 {
		case varint:
			value, size = binary.Uvarint(b)
		case fixed64:
			size = 8
		case fixed32:
			size = 4
		case bytesType:
			length, n := binary.Uvarint(b)
			if n <= 0 || length > uint64(len(b)-n) {
				return errTruncated
			}
			data = b[n : n+int(length) : n+int(length)]
			size = n + int(length)
		}
		if size <= 0 || size > len(b) {
			return errTruncated
		}
		if err := f(tag>>3, value, data); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}
