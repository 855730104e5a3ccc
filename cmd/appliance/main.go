// Command sluice is the appliance: one binary that takes media from publishers
// over WHIP and forwards it to viewers over WHEP.
package main

import (
	"fmt"
	"os"
)

// version is what "sluice version" and the page say.
const version = "0.1.0"

const usage = `Sluice forwards live media: WHIP in, WHEP out.

  sluice run [flags]   start the appliance; "sluice run -h" lists the flags
  sluice version       print the version
`

func main() {
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	switch command {
	case "run":
		if err := run(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "sluice:", err)
			os.Exit(1)
		}
	case "version":
		fmt.Println("sluice", version)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
}
