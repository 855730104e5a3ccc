// Command sluice is the appliance: one binary that takes media from publishers
// over WHIP and forwards it to viewers over WHEP.
package main

import (
	"errors"
	"fmt"
	"os"
)

// version is what "sluice version" and the page say.
const version = "0.1.0"

const usage = `Sluice forwards live media: WHIP in, WHEP out.

  sluice run [flags]      start the appliance; "sluice run -h" lists the flags
  sluice attr COMMAND …   read and change a running one; "sluice attr -h" lists the commands
  sluice apply FILE       make a running one what a JSON or YAML document says
  sluice mount DIR        show the attributes of a running one as files
  sluice doctor           look at how this machine is set up; "sluice doctor -h" lists the flags
  sluice version          print the version
`

func main() {
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	switch command {
	case "run":
		relaxTimers()
		exit(run(os.Args[2:]))
	case "doctor":
		exit(doctorCommand(os.Args[2:]))
	case "attr":
		os.Exit(runAttr(os.Args[2:], os.Stdout, os.Stderr))
	case "apply":
		os.Exit(runApply(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	case "mount":
		os.Exit(runMount(os.Args[2:], os.Stdout, os.Stderr))
	case "version":
		fmt.Println("sluice", version)
	default:
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
}

// exit ends the process if err says that it failed.
func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice:", err)
		os.Exit(status(err))
	}
}

// status is what the process exits with: 2 where the command line is to blame.
func status(err error) int {
	if errors.As(err, &usageError{}) {
		return 2
	}
	return 1
}
