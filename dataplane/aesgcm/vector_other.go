//go:build !amd64

package aesgcm

const able = false

const absent = "aesgcm: no vector instructions"

func expandKey(*[KeySize]byte, *[11][blockSize]byte)               { panic(absent) }
func seal(*Vector, *byte, *byte, int, *[2]uint64, *byte, int)      { panic(absent) }
func crypt(*Vector, *byte, int, *[2]uint64, *[blockSize]byte)      { panic(absent) }
func hash(*Vector, *[blockSize]byte, *byte, int, *[blockSize]byte) { panic(absent) }
func multiply(*[blockSize]byte, *[blockSize]byte)                  { panic(absent) }
