package tune

import (
	"fmt"
	"strings"
)

// mask is the set of the first n CPUs as the kernel writes it.
func mask(n int, like string) string {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return maskOf(all, n, like)
}

// maskOf writes a set of CPUs as the kernel does (bitmap_print_to_pagebuf): hexadecimal
// words of 32 bits, the highest first, as wide as the old value, so that the two
// compare.
func maskOf(cpus []int, n int, like string) string {
	words := make([]uint32, max((n+31)/32, strings.Count(like, ",")+1))
	for _, c := range cpus {
		words[c/32] |= 1 << (c % 32)
	}
	first, _, _ := strings.Cut(like, ",")
	var b strings.Builder
	for i := len(words) - 1; i >= 0; i-- {
		switch {
		case i < len(words)-1:
			fmt.Fprintf(&b, ",%08x", words[i])
		default:
			fmt.Fprintf(&b, "%0*x", max(len(first), 1), words[i])
		}
	}
	return b.String()
}
