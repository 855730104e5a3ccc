//go:build !amd64

package aesgcm

const able = false

const absent = "aesgcm: no vector instructions"

func expandKey(*[KeySize]byte, *[11][blockSize]byte)                             { panic(absent) }
func crypt(*[11][blockSize]byte, *byte, int, *[blockSize]byte, *[blockSize]byte) { panic(absent) }
func hash(*[16][blockSize]byte, *[blockSize]byte, *byte, int, *[blockSize]byte)  { panic(absent) }
func multiply(*[blockSize]byte, *[blockSize]byte)                                { panic(absent) }
