//go:build !amd64

package aesgcm

const able = false

const absent = "aesgcm: no vector instructions"

func expandKey(*[KeySize]byte, *[11][blockSize]byte)               { panic(absent) }
func seal(*vector, *byte, *byte, int, *[2]uint64, *byte, int)      { panic(absent) }
func crypt(*vector, *byte, int, *[2]uint64, *[blockSize]byte)      { panic(absent) }
func hash(*vector, *[blockSize]byte, *byte, int, *[blockSize]byte) { panic(absent) }
func multiply(*[blockSize]byte, *[blockSize]byte)                  { panic(absent) }
